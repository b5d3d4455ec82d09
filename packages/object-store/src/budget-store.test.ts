import { expect, it } from "vitest";
import { BudgetStore } from "./budget-store.ts";
import { CountingStore } from "./counting-store.ts";
import { ObjectStoreError } from "./errors.ts";
import { type FaultPlan, FaultyStore } from "./faulty-store.ts";
import { MemoryStore } from "./memory-store.ts";
import type { ObjectBody } from "./object-store.ts";
import { RetryingStore } from "./retrying-store.ts";
import type { UploadClass } from "./upload-class.ts";

const hourMs = 3_600_000;

function classOf(key: string): UploadClass {
  if (key.startsWith("lease")) return "free";
  return key.startsWith("stream") ? "stream" : "background";
}

function setUp({
  bytesMax = Number.POSITIVE_INFINITY,
  objectsMax = Number.POSITIVE_INFINITY,
  faults = () => undefined,
}: {
  bytesMax?: number;
  objectsMax?: number;
  faults?: FaultPlan;
}) {
  const clock = { nowMs: 5_000_000 };
  const counting = new CountingStore(new FaultyStore(new MemoryStore(), faults));
  const said: string[] = [];
  const store = new BudgetStore(counting, {
    bytesMax: () => bytesMax,
    objectsMax: () => objectsMax,
    classOf,
    nowMs: () => clock.nowMs,
    onExceeded: (error) => said.push(error.code),
    onRefilled: () => said.push("refilled"),
  });
  return { clock, counting, said, store };
}

function streamOf(size: number, pieces = 4): ObjectBody {
  return {
    size,
    open: async function* () {
      for (let index = 0; index < pieces; index++) yield new Uint8Array(size / pieces);
    },
  };
}

it("stops at the objects of an hour before anything is sent, and goes on with the next hour", async () => {
  const { clock, counting, said, store } = setUp({ objectsMax: 3 });
  for (let index = 0; index < 3; index++) await store.put(`stream/${index}`, new Uint8Array(10));
  const refused = store.put("stream/3", new Uint8Array(10));
  await expect(refused).rejects.toMatchObject({
    code: "BUDGET_EXCEEDED",
    retryable: true,
    retryAfterMs: hourMs,
    message: expect.stringContaining("3 objects"),
  });
  await expect(store.putIfAbsent("stream/3", new Uint8Array(10))).rejects.toThrow(ObjectStoreError);
  expect(counting.counts).toMatchObject({ put: 3, putIfAbsent: 0 });
  expect(said).toEqual(["BUDGET_EXCEEDED"]);
  expect(store.budget).toMatchObject({ objects: 3, isExceeded: true, refillMs: hourMs });

  clock.nowMs += hourMs - 1;
  await expect(store.put("stream/3", new Uint8Array(10))).rejects.toThrow();
  clock.nowMs += 1;
  expect(store.budget).toMatchObject({ objects: 0, isExceeded: false, refillMs: 0 });
  await store.put("stream/3", new Uint8Array(10));
  expect(said).toEqual(["BUDGET_EXCEEDED", "refilled"]);
  expect(store.budget).toMatchObject({ objects: 1, bytes: 10, isExceeded: false });
});

it("stops at the bytes of an hour, of bodies in memory and of streams", async () => {
  const { counting, store } = setUp({ bytesMax: 100 });
  await store.put("stream/0", new Uint8Array(40));
  await store.putIfAbsent("stream/1", streamOf(40));
  await expect(store.put("stream/2", streamOf(24))).rejects.toMatchObject({
    code: "BUDGET_EXCEEDED",
    message: expect.stringContaining("100 bytes"),
  });
  await store.put("stream/2", new Uint8Array(20));
  expect(store.budget.bytes).toBe(100);
  expect(counting.counts.bytesUp).toBe(100);
});

it("never holds back nor counts what is free, and no request that stores nothing", async () => {
  const { store } = setUp({ objectsMax: 0, bytesMax: 0 });
  await store.put("lease", new Uint8Array(10));
  await store.putIfAbsent("lease/2", streamOf(16));
  await store.head("lease");
  for await (const _ of store.list("")) break;
  for await (const _ of (await store.get("lease")).body) break;
  await store.delete("lease");
  expect(store.budget).toMatchObject({ objects: 0, bytes: 0, isExceeded: false });
  await expect(store.put("stream/0", new Uint8Array(1))).rejects.toThrow();
});

it("leaves the last quarter to the stream", async () => {
  const { store } = setUp({ objectsMax: 8, bytesMax: 80 });
  for (let index = 0; index < 6; index++) await store.put(`merged/${index}`, new Uint8Array(10));
  await expect(store.put("merged/6", new Uint8Array(0))).rejects.toThrow("8 objects");
  await store.put("stream/0", new Uint8Array(10));
  await store.put("stream/1", new Uint8Array(10));
  await expect(store.put("stream/2", new Uint8Array(0))).rejects.toThrow("8 objects");
});

it("counts what is under way, so that many at once do not pass together", async () => {
  const gate = Promise.withResolvers<void>();
  const { store } = setUp({
    bytesMax: 100,
    faults: () => ({ kind: "delay", wait: () => gate.promise }),
  });
  const first = store.put("stream/0", streamOf(80));
  await expect(store.put("stream/1", streamOf(40))).rejects.toThrow("100 bytes");
  gate.resolve();
  await first;
});

it("lets an object pass alone that is larger than the budget, since it would pass never", async () => {
  const { store } = setUp({ bytesMax: 100 });
  await store.put("stream/0", streamOf(400));
  await expect(store.put("stream/1", streamOf(4))).rejects.toThrow("100 bytes");
});

it("counts what was sent of uploads that failed, and nothing of what never was", async () => {
  const { store } = setUp({
    bytesMax: 1_000,
    faults: ({ nth }) =>
      nth === 1
        ? { kind: "error-before", code: "UNREACHABLE" }
        : { kind: "cut-body", afterBytes: 30 },
  });
  await expect(store.put("stream/0", streamOf(40))).rejects.toThrow();
  expect(store.budget).toMatchObject({ objects: 1, bytes: 0 });
  await expect(store.put("stream/0", streamOf(40))).rejects.toThrow();
  expect(store.budget).toMatchObject({ objects: 2, bytes: 40 });
});

it("does not count a body twice that the store reads for its hash first", async () => {
  class HashingStore extends MemoryStore {
    override async put(key: string, body: ObjectBody): Promise<void> {
      if (!(body instanceof Uint8Array)) for await (const _ of body.open("hash"));
      await super.put(key, body);
    }
  }
  const store = new BudgetStore(new HashingStore(), {
    bytesMax: () => 100,
    objectsMax: () => 10,
    classOf,
    nowMs: () => 0,
    onExceeded: () => {},
    onRefilled: () => {},
  });
  await store.put("stream/0", streamOf(40));
  expect(store.budget.bytes).toBe(40);
});

it("is not waited for by a decorator that repeats: the hour is longer than its patience", async () => {
  const { store } = setUp({ objectsMax: 0 });
  const retrying = new RetryingStore(store, { budgetMs: 30_000 });
  await expect(retrying.put("stream/0", new Uint8Array(1))).rejects.toMatchObject({
    code: "BUDGET_EXCEEDED",
  });
});
