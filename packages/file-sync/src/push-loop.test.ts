import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { FileSyncEvent } from "./events.ts";
import { PushLoop } from "./push-loop.ts";
import { makePushRig } from "./push-testing.ts";
import type { PushOutcome } from "./push-types.ts";

/** A loop on a clock of its own: a sleep ends when the clock is moved to its end, or by its signal. */
function makeLoop(
  push: (nowMs: number, hint: () => void) => Partial<PushOutcome> | Error,
  pushMs = 0,
) {
  let nowMs = 0;
  const pushedMs: number[] = [];
  const events: FileSyncEvent[] = [];
  const sleepers = new Set<{ readonly endMs: number; readonly wake: () => void }>();
  const loop = new PushLoop({
    push: async () => {
      pushedMs.push(nowMs);
      nowMs += pushMs;
      const outcome = push(nowMs, () => loop.hint());
      if (outcome instanceof Error) throw outcome;
      return { manifest: undefined, needsLook: false, ...outcome };
    },
    lookIntervalMs: 300_000,
    nowMs: () => nowMs,
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { endMs: nowMs + delayMs, wake: resolve };
        sleepers.add(sleeper);
        const abort = () => {
          sleepers.delete(sleeper);
          reject(signal.reason);
        };
        if (signal.aborted) abort();
        else signal.addEventListener("abort", abort);
      }),
    onEvent: (event) => events.push(event),
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const moveTo = async (targetMs: number): Promise<void> => {
    for (;;) {
      await settle();
      const next = [...sleepers].toSorted((a, b) => a.endMs - b.endMs)[0];
      if (next === undefined || next.endMs > targetMs) break;
      sleepers.delete(next);
      nowMs = Math.max(nowMs, next.endMs);
      next.wake();
    }
    nowMs = Math.max(nowMs, targetMs);
  };
  return { loop, pushedMs, events, moveTo, running: loop.run() };
}

describe("the push loop", () => {
  test("looks at once, and then by interval", async () => {
    const { loop, pushedMs, moveTo, running } = makeLoop(() => ({}));
    await moveTo(900_000);
    loop.stop();
    await running;
    expect(pushedMs).toEqual([0, 300_000, 600_000, 900_000]);
  });

  test("looks shortly after a hint, once for many", async () => {
    const { loop, pushedMs, moveTo, running } = makeLoop(() => ({}));
    await moveTo(10_000);
    for (let count = 0; count < 5; count += 1) loop.hint();
    await moveTo(10_100);
    loop.hint();
    await moveTo(20_000);
    loop.stop();
    await running;
    expect(pushedMs).toEqual([0, 10_200]);
  });

  test("a hint that comes during a look leads to another", async () => {
    let isHinted = false;
    const { loop, pushedMs, moveTo, running } = makeLoop((_, hint) => {
      if (!isHinted) hint();
      isHinted = true;
      return {};
    });
    await moveTo(20_000);
    loop.stop();
    await running;
    expect(pushedMs).toEqual([0, 200]);
  });

  test("under a stream of hints rests ten times as long as a look took", async () => {
    const { loop, pushedMs, moveTo, running } = makeLoop(() => ({}), 1_000);
    for (let ms = 0; ms <= 60_000; ms += 100) {
      loop.hint();
      await moveTo(ms);
    }
    loop.stop();
    await running;
    expect(pushedMs.length).toBeLessThanOrEqual(7);
    expect(pushedMs.length).toBeGreaterThanOrEqual(5);
  });

  test("looks again for what waits, with growing pauses, and anew after something was pushed", async () => {
    const { loop, pushedMs, moveTo, running } = makeLoop(() => ({ needsLook: true }));
    await moveTo(100_000);
    loop.stop();
    await running;
    expect(pushedMs).toEqual([0, 4_000, 12_000, 28_000, 60_000]);
  });

  test("after a failure tries again with growing pauses, says so, and no hint hurries it", async () => {
    const { loop, pushedMs, events, moveTo, running } = makeLoop((nowMs) =>
      nowMs < 200_000 ? new Error("the store is away") : {},
    );
    for (let ms = 0; ms <= 250_000; ms += 500) {
      loop.hint();
      await moveTo(ms);
    }
    loop.stop();
    await running;
    const seconds = pushedMs.slice(0, 9).map((ms) => ms / 1_000);
    expect(seconds).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183]);
    expect(events.map(({ type }) => type)).toEqual([...Array(9).fill("failing"), "recovered"]);
    expect(events[0]).toMatchObject({ retryMs: 1_000 });
  });

  test("stops a push under way by its signal", async () => {
    let isAborted = false;
    const loop = new PushLoop({
      push: (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => {
            isAborted = true;
            reject(signal.reason);
          });
        }),
      lookIntervalMs: 1_000,
      nowMs: () => 0,
      sleep: () => Promise.reject(new Error("nothing to sleep for")),
      onEvent: (event) => expect.unreachable(event.type),
    });
    const running = loop.run();
    loop.stop();
    await running;
    expect(isAborted).toBe(true);
  });
});

test("weakness 24: an idle day of looks makes no request", async () => {
  const rig = makePushRig();
  mkdirSync(rig.files);
  writeFileSync(join(rig.files, "config.json"), "{}");
  const pusher = await rig.open();
  await rig.push(pusher);
  rig.takePutCount();
  const before = { ...rig.counts() };
  let lookCount = 0;
  let nowMs = 0;
  const loop = new PushLoop({
    push: async () => {
      lookCount += 1;
      return await pusher.push({ place: () => rig.place });
    },
    lookIntervalMs: 300_000,
    nowMs: () => nowMs,
    sleep: async (delayMs) => {
      nowMs += delayMs;
      rig.advance(delayMs);
      if (nowMs > 86_400_000) loop.stop();
    },
    onEvent: (event) => expect.unreachable(event.type),
  });
  await loop.run();
  expect(lookCount).toBeGreaterThanOrEqual(288);
  expect(rig.counts()).toEqual(before);
});
