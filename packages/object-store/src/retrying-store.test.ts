import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defineConformanceTests } from "./conformance.ts";
import { CountingStore } from "./counting-store.ts";
import { ObjectStoreError, type ObjectStoreErrorCode } from "./errors.ts";
import { type Fault, type FaultPlan, FaultyStore, seededFaults } from "./faulty-store.ts";
import { ForwardingStore } from "./forwarding-store.ts";
import { LimitedStore } from "./limited-store.ts";
import { MemoryStore } from "./memory-store.ts";
import type { ObjectStoreProperties } from "./object-store.ts";
import { RetryingStore, type RetryNotice, type RetryOptions } from "./retrying-store.ts";

defineConformanceTests("RetryingStore over LimitedStore over CountingStore", () => ({
  store: new RetryingStore(new LimitedStore(new CountingStore(new MemoryStore()), 3), {
    budgetMs: 0,
  }),
}));

// The clock is vitest's: delays of an hour take no time.
beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const bytes = (text: string) => new TextEncoder().encode(text);

function setUp(plan: FaultPlan, options: Partial<RetryOptions> = {}) {
  const memory = new MemoryStore({ now: () => new Date(0) });
  const faulty = new FaultyStore(memory, plan);
  const counting = new CountingStore(faulty);
  const notices: RetryNotice[] = [];
  const store = new RetryingStore(counting, {
    budgetMs: 60_000,
    onRetry: (notice) => notices.push(notice),
    ...options,
  });
  return { memory, counts: counting.counts, notices, store };
}

/** The first attempts of every request have these faults, in order; those after them have none. */
function script(...faults: Fault[]): FaultPlan {
  return ({ nth }) => faults[nth - 1];
}

const failing = (code: ObjectStoreErrorCode): Fault => ({ kind: "error-before", code });
const answerLost = (code: ObjectStoreErrorCode): Fault => ({ kind: "error-after", code });
const always = (fault: Fault): FaultPlan => {
  return () => fault;
};

/** Lets all delays pass until the promise is settled. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  const outcome = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  await vi.runAllTimersAsync();
  const result = await outcome;
  if ("error" in result) throw result.error;
  return result.value;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("RetryingStore", () => {
  it.each<ObjectStoreErrorCode>([
    "UNREACHABLE",
    "THROTTLED",
    "STORE_FAILED",
    "OUT_OF_SPACE",
    "BODY_MISMATCH",
  ])("sends a request again after %s, and tells so", async (code) => {
    const { memory, notices, store } = setUp(script(failing(code), failing(code)));
    await settled(store.put("k", bytes("v")));
    expect(await memory.head("k")).toMatchObject({ size: 1 });
    expect(notices).toMatchObject([
      { operation: "put", key: "k", attempt: 1, delayMs: 100, error: { code } },
      { operation: "put", key: "k", attempt: 2, delayMs: 200, error: { code } },
    ]);
  });

  it.each<ObjectStoreErrorCode>(["NOT_FOUND", "FORBIDDEN", "INVALID_ARGUMENT"])(
    "passes on %s at once",
    async (code) => {
      const { counts, notices, store } = setUp(always(failing(code)));
      await expect(settled(store.head("k"))).rejects.toMatchObject({ code });
      expect(counts.head).toBe(1);
      expect(notices).toEqual([]);
    },
  );

  it("does not retry what is no error of a store", async () => {
    const { counts, store } = setUp(() => undefined);
    const failure = new RangeError("the spool is broken");
    const body = {
      size: 1,
      // biome-ignore lint/correctness/useYield: it fails before its first chunk
      open: async function* () {
        throw failure;
      },
    };
    await expect(settled(store.put("k", body))).rejects.toBe(failure);
    expect(counts.put).toBe(1);
  });

  it("doubles the delay up to its cap, and gives up with the last error when the budget is used up", async () => {
    const { notices, store } = setUp(always(failing("UNREACHABLE")), {
      budgetMs: 10_000,
      delayMsMin: 500,
      delayMsMax: 2000,
    });
    const start = performance.now();
    await expect(settled(store.delete("k"))).rejects.toMatchObject({ code: "UNREACHABLE" });
    // The last delay is what was left.
    expect(notices.map(({ delayMs }) => delayMs)).toEqual([500, 1000, 2000, 2000, 2000, 2000, 500]);
    expect(performance.now() - start).toBe(10_000);
  });

  it("asks again for those of many deletes that are left, until none is", async () => {
    const { memory, store, notices } = setUp(() => undefined);
    for (const key of ["a", "b", "c", "d"]) await memory.put(key, bytes("v"));
    const asked: (readonly string[])[] = [];
    const partial = new (class extends ForwardingStore {
      override async deleteAll(keys: readonly string[]): Promise<void> {
        asked.push(keys);
        await this.inner.deleteAll(keys.slice(0, 2));
        const leftKeys = keys.slice(2);
        if (leftKeys.length === 0) return;
        const details = { operation: "deleteAll", key: "k", leftKeys };
        throw new ObjectStoreError("STORE_FAILED", "not all of them", details);
      }
    })(memory);
    const retrying = new RetryingStore(partial, { budgetMs: 60_000 });
    await settled(retrying.deleteAll(["a", "b", "c", "d", "e"]));
    expect(asked).toEqual([["a", "b", "c", "d", "e"], ["c", "d", "e"], ["e"]]);
    await expect(memory.head("d")).rejects.toMatchObject({ code: "NOT_FOUND" });

    asked.length = 0;
    const impatient = new RetryingStore(partial, { budgetMs: 0 });
    await expect(settled(impatient.deleteAll(["a", "b", "c"]))).rejects.toMatchObject({
      leftKeys: ["c"],
    });
    expect(asked).toHaveLength(1);
    await settled(store.deleteAll([]));
    expect(notices).toEqual([]);
  });

  it("lengthens delays at random, up to double", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { notices, store } = setUp(script(failing("UNREACHABLE")));
    await settled(store.delete("k"));
    expect(notices.map(({ delayMs }) => delayMs)).toEqual([150]);
  });

  it("waits as long as the store asks", async () => {
    const fault = { ...failing("THROTTLED"), retryAfterMs: 7000 } as Fault;
    const { notices, store } = setUp(script(fault));
    const start = performance.now();
    await settled(store.delete("k"));
    expect(performance.now() - start).toBe(7000);
    expect(notices).toMatchObject([{ delayMs: 7000 }]);
  });

  it("gives up at once if the store asks for more time than is left", async () => {
    const fault = { ...failing("THROTTLED"), retryAfterMs: 60_001 } as Fault;
    const { counts, store } = setUp(script(fault));
    const start = performance.now();
    await expect(settled(store.delete("k"))).rejects.toMatchObject({ code: "THROTTLED" });
    expect(performance.now() - start).toBe(0);
    expect(counts.delete).toBe(1);
  });

  it.each([
    { name: "its own delay", fault: failing("UNREACHABLE") },
    {
      name: "a delay that the store asked for",
      fault: { ...failing("THROTTLED"), retryAfterMs: 50_000 } as Fault,
    },
  ])("ends with the reason when it is aborted in $name", async ({ fault }) => {
    const { counts, store } = setUp(always(fault));
    const controller = new AbortController();
    const reason = new Error("shutting down");
    const outcome = expect(store.delete("k", { signal: controller.signal })).rejects.toBe(reason);
    await vi.advanceTimersByTimeAsync(50);
    controller.abort(reason);
    await outcome;
    expect(counts.delete).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("opens a body anew for each attempt", async () => {
    const { memory, counts, store } = setUp(script({ kind: "cut-body", afterBytes: 3 }));
    const body = {
      size: 6,
      open: async function* () {
        yield bytes("ab");
        yield bytes("cdef");
      },
    };
    await settled(store.put("k", body));
    expect(await collect((await memory.get("k")).body)).toEqual(Buffer.from("abcdef"));
    expect(counts.put).toBe(2);
  });
});

describe("RetryingStore creating if absent", () => {
  const nonce = (value: string) => ({ metadata: { nonce: value } });
  const first = (fault: Fault): FaultPlan => {
    return ({ operation, nth }) => (operation === "putIfAbsent" && nth === 1 ? fault : undefined);
  };

  it("recognises its own object behind a lost answer", async () => {
    const { memory, store } = setUp(first(answerLost("UNREACHABLE")));
    expect(await settled(store.putIfAbsent("k", bytes("mine"), nonce("1")))).toBe("created");
    expect(await memory.head("k")).toMatchObject(nonce("1"));
  });

  it("recognises its own large streamed object", async () => {
    const { counts, store } = setUp(first(answerLost("STORE_FAILED")));
    const content = new Uint8Array(200_000).map((_, index) => index % 251);
    const body = {
      size: content.length,
      open: async function* () {
        for (let at = 0; at < content.length; at += 7777) yield content.subarray(at, at + 7777);
      },
    };
    expect(await settled(store.putIfAbsent("k", body))).toBe("created");
    expect(counts.get).toBe(1);
  });

  it.each([
    { name: "other bytes", content: "hers", options: nonce("1") },
    { name: "another length", content: "longer", options: nonce("1") },
    { name: "only our beginning", content: "min", options: nonce("1") },
    { name: "another nonce", content: "mine", options: nonce("2") },
    { name: "no metadata", content: "mine", options: {} },
  ])("answers exists for an object with $name", async ({ content, options }) => {
    const { memory, counts, store } = setUp(first(failing("UNREACHABLE")));
    await memory.put("k", bytes(content), options);
    expect(await settled(store.putIfAbsent("k", bytes("mine"), nonce("1")))).toBe("exists");
    expect(counts.putIfAbsent).toBe(2);
  });

  it("reads back again if that fails", async () => {
    const { counts, store } = setUp(script(answerLost("UNREACHABLE")));
    expect(await settled(store.putIfAbsent("k", bytes("mine")))).toBe("created");
    expect(counts).toMatchObject({ putIfAbsent: 3, get: 2 });
  });

  it("does not read back after a clear answer", async () => {
    const { memory, counts, store } = setUp(() => undefined);
    await memory.put("k", bytes("mine"));
    expect(await settled(store.putIfAbsent("k", bytes("mine")))).toBe("exists");
    expect(counts.get).toBe(0);
  });

  it("asks again if the object is gone when it is read back", async () => {
    const { memory, counts, store } = setUp((call) => {
      if (call.operation === "putIfAbsent" && call.nth === 1) return answerLost("UNREACHABLE");
      if (call.operation !== "get") return undefined;
      return { kind: "delay", wait: () => memory.delete("k") };
    });
    expect(await settled(store.putIfAbsent("k", bytes("mine")))).toBe("created");
    expect(counts).toMatchObject({ putIfAbsent: 3, get: 1 });
    expect(await memory.head("k")).toMatchObject({ size: 4 });
  });
});

describe("RetryingStore reading", () => {
  const content = new Uint8Array(300_000).map((_, index) => index % 251);

  it("goes on at the byte where the body broke", async () => {
    const { memory, counts, notices, store } = setUp(
      script({ kind: "cut-body", afterBytes: 100_000 }, { kind: "cut-body", afterBytes: 150_000 }),
    );
    await memory.put("k", content);
    const { body } = await store.get("k");
    expect(Buffer.compare(await settled(collect(body)), content)).toBe(0);
    // Not a byte twice.
    expect(counts).toMatchObject({ get: 3, bytesDown: content.length });
    expect(notices).toMatchObject([{ operation: "get", attempt: 1 }, { attempt: 1 }]);
  });

  it("goes on within a range", async () => {
    const { memory, counts, store } = setUp(script({ kind: "cut-body", afterBytes: 90_000 }));
    await memory.put("k", content);
    const { body } = await store.get("k", { range: { start: 10_000, length: 200_000 } });
    const read = await settled(collect(body));
    expect(Buffer.compare(read, content.subarray(10_000, 210_000))).toBe(0);
    expect(counts.bytesDown).toBe(200_000);
  });

  it("begins again if the body broke before its first byte", async () => {
    const { memory, store } = setUp(script({ kind: "cut-body", afterBytes: 0 }));
    await memory.put("k", content);
    const { body } = await store.get("k");
    expect(Buffer.compare(await settled(collect(body)), content)).toBe(0);
  });

  it("gives up on a body that makes no progress, when the budget is used up", async () => {
    const { memory, store } = setUp(always({ kind: "cut-body", afterBytes: 0 }), {
      budgetMs: 5000,
    });
    await memory.put("k", content);
    const { body } = await store.get("k");
    const start = performance.now();
    await expect(settled(collect(body))).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(performance.now() - start).toBe(5000);
  });

  it("has a new budget after each progress", async () => {
    const { memory, store } = setUp(always({ kind: "cut-body", afterBytes: 30_000 }), {
      budgetMs: 150,
    });
    await memory.put("k", content);
    const { body } = await store.get("k");
    expect(Buffer.compare(await settled(collect(body)), content)).toBe(0);
  });

  it("reports an object that was replaced meanwhile, instead of mixing two", async () => {
    const { memory, counts, store } = setUp(script({ kind: "cut-body", afterBytes: 100_000 }));
    await memory.put("k", content);
    const { body } = await store.get("k");
    await memory.put("k", content.subarray(1));
    await expect(settled(collect(body))).rejects.toMatchObject({ code: "BODY_MISMATCH" });
    expect(counts.get).toBe(2);
  });

  it("goes on with a listing behind its last page", async () => {
    const { memory, counts, store } = setUp(
      script(answerLost("UNREACHABLE"), failing("STORE_FAILED")),
    );
    for (let index = 1000; index < 3500; index++) await memory.put(`k/${index}`, bytes(""));
    const list = async () => {
      const keys: string[] = [];
      for await (const page of store.list("k/")) keys.push(...page.map(({ key }) => key));
      return keys;
    };
    const keys = await settled(list());
    expect(keys).toEqual(Array.from({ length: 2500 }, (_, index) => `k/${1000 + index}`));
    // Page, break, failure, two more pages.
    expect(counts.list).toBe(5);
  });

  it("lists nothing twice and nothing less where listings have no order", async () => {
    class UnsortedStore extends ForwardingStore {
      override get properties(): ObjectStoreProperties {
        return { ...this.inner.properties, listingSorted: false };
      }
    }
    const memory = new MemoryStore();
    for (let index = 1000; index < 3500; index++) await memory.put(`k/${index}`, bytes(""));
    const faulty = new FaultyStore(new UnsortedStore(memory), script(answerLost("UNREACHABLE")));
    const store = new RetryingStore(faulty, { budgetMs: 60_000 });
    const list = async () => {
      const keys: string[] = [];
      for await (const page of store.list("k/")) keys.push(...page.map(({ key }) => key));
      return keys;
    };
    expect(await settled(list())).toHaveLength(2500);
  });

  it("brings everything through a store in which half of all requests fail", async () => {
    const seed = 20_261_124;
    const faults: Fault[] = [
      failing("UNREACHABLE"),
      failing("THROTTLED"),
      answerLost("UNREACHABLE"),
      { kind: "cut-body", afterBytes: 70_000 },
    ];
    const memory = new MemoryStore();
    const faulty = new FaultyStore(memory, seededFaults(seed, 0.5, faults));
    const store = new RetryingStore(faulty, { budgetMs: Number.POSITIVE_INFINITY });
    const work = async () => {
      for (let index = 0; index < 50; index++) {
        const body = content.subarray(index);
        const key = `k/${index}`;
        if (index % 2 === 0) await store.put(key, body);
        else expect(await store.putIfAbsent(key, body)).toBe("created");
        expect(Buffer.compare(await collect((await store.get(key)).body), body)).toBe(0);
      }
    };
    await settled(work());
  });

  it("keeps the error itself", async () => {
    const { store } = setUp(always(failing("UNREACHABLE")), { budgetMs: 0 });
    await expect(store.get("k")).rejects.toBeInstanceOf(ObjectStoreError);
  });
});
