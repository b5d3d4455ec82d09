import { describe, expect, it } from "vitest";
import { type Fault, FaultyStore } from "./faulty-store.ts";
import { LimitedStore } from "./limited-store.ts";
import { MemoryStore } from "./memory-store.ts";

const bytes = (size: number) => new Uint8Array(size);

/** A store whose requests wait until they are let go, and that says how many are waiting. */
function setUp(requestCountMax: number) {
  const waiting: (() => void)[] = [];
  const fault: Fault = {
    kind: "delay",
    wait: () => new Promise<void>((resolve) => waiting.push(resolve)),
  };
  const memory = new MemoryStore();
  const faulty = new FaultyStore(memory, () => fault);
  return { memory, waiting, store: new LimitedStore(faulty, requestCountMax) };
}

/** Lets everything happen that needs no outside event. */
const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("LimitedStore", () => {
  it("lets no more requests through than allowed, in the order in which they came", async () => {
    const { waiting, store } = setUp(2);
    const done: string[] = [];
    const puts = ["a", "b", "c", "d"].map((key) =>
      store.put(key, bytes(1)).then(() => done.push(key)),
    );
    for (let round = 0; round < 4; round++) {
      await quiet();
      expect(waiting).toHaveLength(Math.min(2, 4 - round));
      waiting.shift()?.();
    }
    await Promise.all(puts);
    expect(done).toEqual(["a", "b", "c", "d"]);
  });

  it("lets a delete of many through as one request", async () => {
    const { waiting, store } = setUp(2);
    const done = ["a", "b", "c"].map((key) => store.deleteAll([key, `${key}2`, `${key}3`]));
    for (let round = 0; round < 3; round++) {
      await quiet();
      expect(waiting).toHaveLength(Math.min(2, 3 - round));
      waiting.shift()?.();
    }
    await Promise.all(done);
  });

  it.each([
    {
      name: "is read to its end",
      finish: async (body: AsyncIterable<Uint8Array>) => {
        for await (const _ of body);
      },
    },
    {
      name: "is left after a chunk",
      finish: async (body: AsyncIterable<Uint8Array>) => {
        for await (const _ of body) break;
      },
    },
    {
      name: "is returned unread",
      finish: async (body: AsyncIterable<Uint8Array>) => {
        await body[Symbol.asyncIterator]().return?.();
      },
    },
  ])("holds the slot of a get until its body $name", async ({ finish }) => {
    const memory = new MemoryStore();
    await memory.put("k", bytes(300_000));
    const store = new LimitedStore(memory, 1);
    const { body } = await store.get("k");
    let isDone = false;
    const head = store.head("k").then(() => {
      isDone = true;
    });
    await quiet();
    expect(isDone).toBe(false);
    await finish(body);
    await head;
    expect(isDone).toBe(true);
  });

  it("gives the slot back after a failure", async () => {
    const store = new LimitedStore(new MemoryStore(), 1);
    for (let round = 0; round < 3; round++) {
      await expect(store.get("none")).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(store.head("none")).rejects.toMatchObject({ code: "NOT_FOUND" });
    }
  });

  it("holds no slot between two pages of a listing", async () => {
    const memory = new MemoryStore();
    for (let index = 0; index < 1001; index++) await memory.put(`k/${index}`, bytes(0));
    const store = new LimitedStore(memory, 1);
    let pageCount = 0;
    for await (const page of store.list("k/")) {
      pageCount++;
      await store.head(page[0]?.key ?? "");
    }
    expect(pageCount).toBe(2);
  });

  it("ends the wait of an aborted request, which never reaches the store and takes no slot", async () => {
    const { memory, waiting, store } = setUp(1);
    const first = store.put("a", bytes(1));
    const controller = new AbortController();
    const reason = new Error("shutting down");
    const second = store.put("b", bytes(1), { signal: controller.signal });
    const third = store.put("c", bytes(1));
    await quiet();
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    for (let round = 0; round < 2; round++) {
      await quiet();
      expect(waiting).toHaveLength(1);
      waiting.shift()?.();
    }
    await Promise.all([first, third]);
    await expect(memory.head("b")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
