import { describe, expect, it } from "vitest";
import { MaintenanceLoop } from "./maintenance-loop.ts";

/** A loop in a world whose sleeps last until the test, a wake or the end ends them. */
function fixture(next: (step: number) => number | Error) {
  const sleeps: number[] = [];
  const ending = new AbortController();
  const world = { steps: 0, duringStep: async (_signal: AbortSignal): Promise<void> => {} };
  let wakeUp: () => void = () => {};
  const loop = new MaintenanceLoop({
    step: async (signal) => {
      world.steps += 1;
      await world.duringStep(signal);
      const result = next(world.steps);
      if (result instanceof Error) throw result;
      return result;
    },
    now: () => 1_000_000,
    sleep: async (ms, signal) => {
      sleeps.push(ms);
      await new Promise<void>((resolve) => {
        wakeUp = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
        if (signal.aborted) resolve();
      });
    },
  });
  return { loop, world, sleeps, ending, pass: () => wakeUp(), run: () => loop.run(ending.signal) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("MaintenanceLoop", () => {
  it("sleeps until the time that a step named, and looks again", async () => {
    const { run, world, sleeps, ending, pass } = fixture((step) => 1_000_000 + step * 5_000);
    const done = run();
    await turn();
    expect(sleeps).toEqual([5_000]);
    pass();
    await turn();
    expect(sleeps).toEqual([5_000, 10_000]);
    ending.abort();
    await done;
    expect(world.steps).toBe(2);
  });

  it("looks at once when it is asked to, also during a step", async () => {
    const { loop, run, world, sleeps, ending } = fixture(() => 2_000_000);
    const done = run();
    await turn();
    loop.wake(0);
    await turn();
    expect(world.steps).toBe(2);
    world.duringStep = async () => {
      if (world.steps === 3) loop.wake(0);
    };
    loop.wake(0);
    await turn();
    expect(world.steps).toBe(4);
    expect(sleeps).toHaveLength(3);
    ending.abort();
    await done;
  });

  it("looks within the time that it is given, and does not wake again for what is due no sooner", async () => {
    const { loop, run, world, sleeps, ending, pass } = fixture(() => 1_060_000);
    const done = run();
    await turn();
    for (const withinMs of [90_000, 3_000, 3_000, 60_000]) {
      loop.wake(withinMs);
      await turn();
    }
    expect(sleeps).toEqual([60_000, 3_000]);
    expect(world.steps).toBe(1);
    pass();
    await turn();
    expect(world.steps).toBe(2);
    expect(sleeps).toEqual([60_000, 3_000, 60_000]);
    ending.abort();
    await done;
  });

  it("never spins, and never asks a timer for more than it can", async () => {
    const times = [0, 1_000_000, Number.POSITIVE_INFINITY];
    const { run, sleeps, ending, pass } = fixture((step) => times[step - 1] as number);
    const done = run();
    for (let round = 0; round < 2; round++) {
      await turn();
      pass();
    }
    await turn();
    expect(sleeps).toEqual([100, 100, 2 ** 31 - 1]);
    ending.abort();
    await done;
  });

  it("an end ends the step under way, and is no failure", async () => {
    const { run, world, ending } = fixture(() => new Error("never"));
    world.duringStep = (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    const done = run();
    ending.abort(new Error("the end"));
    await done;
    expect(world.steps).toBe(1);
  });

  it("passes on what ends the stream", async () => {
    const fenced = new Error("fenced");
    await expect(fixture(() => fenced).run()).rejects.toBe(fenced);
  });
});
