import { describe, expect, it } from "vitest";
import { defineConformanceTests } from "./conformance.ts";
import { type Fault, FaultyStore, type StoreCall, seededFaults } from "./faulty-store.ts";
import { MemoryStore } from "./memory-store.ts";

defineConformanceTests("FaultyStore without faults", () => ({
  store: new FaultyStore(new MemoryStore(), () => undefined),
}));

const content = Uint8Array.of(1, 2, 3, 4, 5, 6);

async function setUp(fault: Fault) {
  const memory = new MemoryStore();
  await memory.put("k", content);
  return { memory, store: new FaultyStore(memory, () => fault) };
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<number[]> {
  const bytes: number[] = [];
  for await (const chunk of body) bytes.push(...chunk);
  return bytes;
}

describe("FaultyStore", () => {
  it("fails before the store is reached", async () => {
    const { memory, store } = await setUp({
      kind: "error-before",
      code: "THROTTLED",
      retryAfterMs: 5,
    });
    const failure = { code: "THROTTLED", retryAfterMs: 5 };
    await expect(store.put("new", content)).rejects.toMatchObject(failure);
    await expect(memory.head("new")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("loses the answer of what was done", async () => {
    const { memory, store } = await setUp({ kind: "error-after", code: "UNREACHABLE" });
    await expect(store.putIfAbsent("new", content)).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(await memory.head("new")).toMatchObject({ size: 6 });
  });

  it("fails a delete of many as a whole, and nobody knows what became of any", async () => {
    for (const kind of ["error-before", "error-after"] as const) {
      const { memory, store } = await setUp({ kind, code: "UNREACHABLE" });
      await expect(store.deleteAll(["k", "l"])).rejects.toMatchObject({
        code: "UNREACHABLE",
        leftKeys: ["k", "l"],
      });
      const isThere = await memory.head("k").then(
        () => true,
        () => false,
      );
      expect(isThere).toBe(kind === "error-before");
    }
  });

  it("cuts bodies on both ways", async () => {
    const { memory, store } = await setUp({ kind: "cut-body", afterBytes: 2 });
    await expect(store.put("new", content)).rejects.toMatchObject({ code: "UNREACHABLE" });
    await expect(memory.head("new")).rejects.toMatchObject({ code: "NOT_FOUND" });
    const chunks: number[] = [];
    const read = async () => {
      for await (const chunk of (await store.get("k")).body) chunks.push(...chunk);
    };
    await expect(read()).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(chunks).toEqual([1, 2]);
  });

  it("flips a bit on both ways, and leaves the caller's bytes alone", async () => {
    const { memory, store } = await setUp({ kind: "garble-body", atByte: 4 });
    await store.put("new", content);
    expect(await collect((await memory.get("new")).body)).toEqual([1, 2, 3, 4, 4, 6]);
    expect(await collect((await store.get("k")).body)).toEqual([1, 2, 3, 4, 4, 6]);
    expect([...content]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("stalls until it is aborted", async () => {
    const { store } = await setUp({ kind: "stall" });
    const controller = new AbortController();
    const reason = new Error("enough");
    const outcome = expect(store.head("k", { signal: controller.signal })).rejects.toBe(reason);
    controller.abort(reason);
    await outcome;
  });

  it("asks the plan with operation, key and count", async () => {
    const calls: StoreCall[] = [];
    const store = new FaultyStore(new MemoryStore(), (call) => {
      calls.push(call);
      return undefined;
    });
    await store.put("a", content);
    await store.put("a", content);
    await store.put("b", content);
    await store.head("a");
    expect(calls).toEqual([
      { operation: "put", key: "a", nth: 1 },
      { operation: "put", key: "a", nth: 2 },
      { operation: "put", key: "b", nth: 1 },
      { operation: "head", key: "a", nth: 1 },
    ]);
  });

  it("gives the same faults for the same seed, about as many as asked for", () => {
    const draw = (seed: number) => {
      const plan = seededFaults(seed, 0.3, [{ kind: "stall" }]);
      return Array.from({ length: 1000 }, (_, nth) => plan({ operation: "get", key: "k", nth }));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    const count = draw(1).filter((fault) => fault !== undefined).length;
    expect(count).toBeGreaterThan(250);
    expect(count).toBeLessThan(350);
  });
});
