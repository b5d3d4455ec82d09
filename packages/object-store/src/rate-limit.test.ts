import { expect, it } from "vitest";
import { CountingStore } from "./counting-store.ts";
import { MemoryStore } from "./memory-store.ts";
import type { ObjectBody } from "./object-store.ts";
import { RateLimit } from "./rate-limit.ts";
import { RateLimitedStore } from "./rate-limited-store.ts";
import type { UploadClass } from "./upload-class.ts";
import { settle, VirtualTime } from "./virtual-time.ts";

const bytesPerSecond = 80_000;

function setUp() {
  const time = new VirtualTime();
  const rate = new RateLimit({ bytesPerSecond, nowMs: () => time.nowMs, sleep: time.sleep });
  return { time, rate };
}

function setUpStore(inner: MemoryStore = new MemoryStore()) {
  const { time, rate } = setUp();
  const counting = new CountingStore(inner);
  const store = new RateLimitedStore(counting, rate, (key) => key.split("/")[0] as UploadClass);
  return { time, rate, counting, store };
}

function bodyOf(size: number): ObjectBody {
  return {
    size,
    open: async function* () {
      for (let left = size; left > 0; left -= 30_000) yield new Uint8Array(Math.min(30_000, left));
    },
  };
}

it("sends no more than the rate, over any time longer than its burst", async () => {
  const { time, counting, store } = setUpStore();
  let isDone = false;
  const put = store.put("stream/a", bodyOf(800_000)).then(() => {
    isDone = true;
  });
  let before = 0;
  for (let second = 1; second <= 9; second++) {
    await time.advance(1_000);
    const sent = counting.counts.bytesUp - before;
    before = counting.counts.bytesUp;
    // A quarter of a second's worth was saved up before the first one, and a piece is an eighth.
    expect(sent).toBeLessThanOrEqual(bytesPerSecond * (second === 1 ? 1.4 : 1.13));
    expect(sent).toBeGreaterThanOrEqual(bytesPerSecond * 0.87);
    expect(isDone).toBe(false);
  }
  await time.advance(1_000);
  await put;
  // Idle, it wakes nobody.
  expect(time.isAwaited).toBe(false);
});

it("holds small bodies back as well, and bodies in memory piece by piece", async () => {
  const { time, counting, store } = setUpStore();
  const puts = Array.from({ length: 20 }, (_, index) =>
    store.put(`stream/${index}`, new Uint8Array(8_000)),
  );
  await time.advance(1_000);
  expect(counting.counts.put).toBeLessThanOrEqual(14);
  await time.advance(1_000);
  await Promise.all(puts);
  const large = store.putIfAbsent("stream/large", new Uint8Array(160_000));
  await time.advance(1_000);
  expect(counting.counts.bytesUp - 160_000).toBeLessThan(120_000);
  await time.advance(1_500);
  expect(await large).toBe("created");
});

it("lets the stream go first, and the background starve never", async () => {
  const { time, rate } = setUp();
  const order: string[] = [];
  const take = (uploadClass: UploadClass): Promise<void> =>
    rate.take(10_000, uploadClass).then(() => void order.push(uploadClass));
  const all = [
    ...Array.from({ length: 20 }, () => take("stream")),
    ...Array.from({ length: 20 }, () => take("background")),
  ];
  await time.advance(60_000);
  await Promise.all(all);
  const firstHalf = order.slice(0, 20);
  expect(firstHalf.filter((uploadClass) => uploadClass === "stream").length).toBeGreaterThanOrEqual(
    15,
  );
  expect(firstHalf).toContain("background");
});

it("lets a commit overtake a large upload that is under way", async () => {
  const { time, counting, store } = setUpStore();
  const large = store.put("background/snapshot", bodyOf(800_000));
  await time.advance(2_000);
  let storedAtMs = 0;
  const commit = store.put("stream/1", new Uint8Array(5_000)).then(() => {
    storedAtMs = time.nowMs;
  });
  await time.advance(1_000);
  await commit;
  expect(storedAtMs).toBeLessThanOrEqual(2_300);
  expect(counting.counts.bytesUp).toBeLessThan(800_000);
  await time.advance(60_000);
  await large;
});

it("has one large body of a class under way at a time, so that none is too slow for the store", async () => {
  const opened: string[] = [];
  class NotingStore extends MemoryStore {
    override put(key: string, body: ObjectBody): Promise<void> {
      opened.push(key);
      return super.put(key, body);
    }
  }
  const { time, store } = setUpStore(new NotingStore());
  const puts = [1, 2, 3].map((index) => store.put(`background/${index}`, bodyOf(100_000)));
  puts.push(store.put("stream/1", bodyOf(100_000)));
  await settle();
  expect(opened).toEqual(["background/1", "stream/1"]);
  await time.advance(60_000);
  await Promise.all(puts);
  expect(opened).toHaveLength(4);
});

it("never holds back what is free, nor what is only read for its hash", async () => {
  const reads: string[] = [];
  class HashingStore extends MemoryStore {
    override async put(key: string, body: ObjectBody): Promise<void> {
      if (!(body instanceof Uint8Array)) for await (const _ of body.open("hash"));
      reads.push("hashed");
      await super.put(key, body);
    }
  }
  const { time, store } = setUpStore(new HashingStore());
  await store.put("free/lease", bodyOf(800_000));
  const put = store.put("stream/1", bodyOf(800_000));
  await settle();
  expect(reads).toEqual(["hashed", "hashed"]);
  await time.advance(20_000);
  await put;
});

it("gives up with its signal, and keeps nobody else waiting", async () => {
  const { time, counting, store } = setUpStore();
  const stopped = new Error("stopped");
  const stopping = new AbortController();
  const first = store.put("stream/1", bodyOf(800_000), { signal: stopping.signal });
  first.catch(() => {});
  await time.advance(500);
  stopping.abort(stopped);
  await expect(first).rejects.toBe(stopped);
  const sent = counting.counts.bytesUp;
  const next = store.put("stream/2", bodyOf(60_000));
  await time.advance(1_000);
  await next;
  expect(counting.counts.bytesUp - sent).toBe(60_000);
});

it("forgets who gave up: the next one does not wait for what is never sent", async () => {
  const { time, rate } = setUp();
  const stopping = new AbortController();
  await rate.take(40_000, "stream");
  const given = rate.take(800_000, "stream", stopping.signal);
  given.catch(() => {});
  stopping.abort(new Error("stopped"));
  await expect(given).rejects.toThrow("stopped");
  let grantedAtMs = 0;
  const next = rate.take(1_000, "stream").then(() => {
    grantedAtMs = time.nowMs;
  });
  await time.advance(20_000);
  await next;
  expect(grantedAtMs).toBeLessThan(1_000);
});
