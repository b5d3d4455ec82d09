import { expect, it } from "vitest";
import { CountingStore, noCounts } from "./counting-store.ts";
import { FaultyStore } from "./faulty-store.ts";
import { MemoryStore } from "./memory-store.ts";
import type { ObjectBody } from "./object-store.ts";

async function* streamOf(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function exhaust(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

it("counts requests by verb, and bytes in both directions", async () => {
  const store = new CountingStore(new MemoryStore());
  await store.put("a", new Uint8Array(10));
  await store.put("b", {
    size: 5,
    open: () => streamOf(new Uint8Array(2), new Uint8Array(3)),
  });
  await store.putIfAbsent("a", new Uint8Array(100));
  await exhaust((await store.get("a")).body);
  await exhaust((await store.get("b", { range: { start: 1, length: 2 } })).body);
  await store.head("a");
  await store.delete("a");
  await store.deleteAll(["a", "b"]);
  expect(store.counts).toEqual({
    put: 2,
    putIfAbsent: 1,
    get: 2,
    head: 1,
    list: 0,
    delete: 1,
    deleteAll: 1,
    bytesUp: 115,
    bytesDown: 12,
  });
  Object.assign(store.counts, noCounts());
  expect(store.counts).toEqual(noCounts());
});

it("counts bytes once that a store reads for their hash before it sends them", async () => {
  class HashingStore extends MemoryStore {
    override async put(key: string, body: ObjectBody): Promise<void> {
      if (!(body instanceof Uint8Array)) await exhaust(body.open());
      await super.put(key, body);
    }
  }
  const store = new CountingStore(new HashingStore());
  await store.put("k", { size: 5, open: () => streamOf(new Uint8Array(2), new Uint8Array(3)) });
  expect(store.counts.bytesUp).toBe(5);
});

it("counts a listing by its pages, an empty one as one request", async () => {
  const memory = new MemoryStore();
  for (let index = 0; index < 1001; index++) await memory.put(`k/${index}`, new Uint8Array(0));
  const store = new CountingStore(memory);
  await exhaust(store.list("k/"));
  expect(store.counts.list).toBe(2);
  await exhaust(store.list("none/"));
  expect(store.counts.list).toBe(3);
  for await (const _ of store.list("k/")) break;
  expect(store.counts.list).toBe(4);
});

it("counts requests that fail", async () => {
  const faulty = new FaultyStore(new MemoryStore(), () => ({
    kind: "error-before",
    code: "UNREACHABLE",
  }));
  const store = new CountingStore(faulty);
  await expect(store.head("k")).rejects.toThrow();
  await expect(exhaust(store.list("k"))).rejects.toThrow();
  await expect(store.get("k")).rejects.toThrow();
  expect(store.counts).toMatchObject({ head: 1, list: 1, get: 1, bytesDown: 0 });
});

it("says how requests ended, by verb", async () => {
  const faulty = new FaultyStore(new MemoryStore(), ({ operation, nth }) => {
    if (operation === "put" && nth === 2) return { kind: "error-before", code: "THROTTLED" };
    if (operation === "get" && nth === 2) return { kind: "cut-body", afterBytes: 1 };
    if (operation === "list") return { kind: "error-before", code: "UNREACHABLE" };
    return operation === "head" ? { kind: "stall" } : undefined;
  });
  const store = new CountingStore(faulty);
  await store.put("k", new Uint8Array(3));
  await expect(store.put("k", new Uint8Array(3))).rejects.toThrow();
  await store.putIfAbsent("k", new Uint8Array(3));
  await store.putIfAbsent("l", new Uint8Array(3));
  await exhaust((await store.get("k")).body);
  await expect(store.get("k").then(({ body }) => exhaust(body))).rejects.toThrow();
  await expect(exhaust(store.list(""))).rejects.toThrow();
  await expect(store.head("k", { signal: AbortSignal.timeout(1) })).rejects.toThrow();
  await store.delete("k");
  await store.deleteAll(["k", "l"]);
  await expect(store.deleteAll([".."])).rejects.toThrow();
  expect(
    store.outcomes.map(({ operation, outcome, count }) => [operation, outcome, count]),
  ).toEqual([
    ["put", "ok", 1],
    ["put", "THROTTLED", 1],
    ["putIfAbsent", "exists", 1],
    ["putIfAbsent", "ok", 1],
    ["get", "ok", 2],
    ["get", "UNREACHABLE", 1],
    ["list", "UNREACHABLE", 1],
    ["head", "aborted", 1],
    ["delete", "ok", 1],
    ["deleteAll", "ok", 1],
    ["deleteAll", "INVALID_ARGUMENT", 1],
  ]);
});
