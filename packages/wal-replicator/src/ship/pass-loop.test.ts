import { once } from "node:events";
import { mkdtempSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PassLoop, type PassLoopDeps } from "./pass-loop.ts";

describe("PassLoop", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "pass-loop-"));
    writeFileSync(join(directory, "wal"), "");
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function loopOver(pass: () => Promise<boolean>, deps: Partial<PassLoopDeps> = {}): PassLoop {
    return new PassLoop({
      pass,
      settle: async () => false,
      walPath: join(directory, "wal"),
      intervalMs: 60_000,
      nowMs: () => performance.now(),
      isTemporary: () => false,
      onFailing: () => {},
      onRecovered: () => {},
      ...deps,
    });
  }

  it("runs a pass that began after each request, one at a time", async () => {
    let running = 0;
    const pass = vi.fn(async () => {
      running += 1;
      expect(running).toBe(1);
      await Promise.resolve();
      running -= 1;
      return true;
    });
    const loop = loopOver(pass);
    const done = loop.run();
    await loop.request();
    await Promise.all([loop.request(), loop.request()]);
    expect(pass).toHaveBeenCalledTimes(2);
    loop.stop();
    await done;
  });

  it("is not woken by a WAL that changes while the next pass waits for its credit", async () => {
    const nowMs = vi.fn(() => performance.now());
    const walPath = join(directory, "wal");
    const loop = loopOver(async () => true, { nowMs });
    const done = loop.run();
    for (let request = 0; request < 60; request += 1) await loop.request();
    await writeAndLetItBeSeen(walPath);
    const looks = nowMs.mock.calls.length;
    for (let change = 0; change < 5; change += 1) await writeAndLetItBeSeen(walPath);
    expect(nowMs.mock.calls.length).toBe(looks);
    loop.stop();
    await done;
  });

  describe("by a clock that the test moves", () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    });
    afterEach(() => vi.useRealTimers());

    it("runs a pass when the WAL changes, and sees also what changes during the pass before", async () => {
      const walPath = join(directory, "wal");
      let passes = 0;
      const loop = loopOver(async () => {
        passes += 1;
        if (passes === 2) writeFileSync(walPath, "more frames");
        return false;
      });
      const done = loop.run();
      await loop.request();
      writeFileSync(walPath, "frames");
      // Half of the tick of a second, which would see both.
      for (let turn = 0; turn < 500; turn += 1) await vi.advanceTimersByTimeAsync(1);
      expect(passes).toBe(3);
      loop.stop();
      await done;
    });

    /** A loop that has been told of its only commit, and whose second attempt to settle succeeds. */
    async function quietLoop() {
      const world = { captures: true };
      const settle = vi.fn(async () => settle.mock.calls.length > 1);
      const pass = vi.fn(async () => world.captures);
      const loop = loopOver(pass, { settle });
      const done = loop.run();
      await loop.request();
      const passesIn = async (ms: number): Promise<number> => {
        const before = pass.mock.calls.length;
        await vi.advanceTimersByTimeAsync(ms);
        return pass.mock.calls.length - before;
      };
      const commit = async (): Promise<void> => {
        const before = pass.mock.calls.length;
        world.captures = true;
        await writeAndLetItBeSeen(join(directory, "wal"));
        await passesIn(100);
        expect(pass.mock.calls.length - before).toBe(1);
        world.captures = false;
      };
      await commit();
      const end = async (): Promise<void> => {
        loop.stop();
        await done;
      };
      return { world, settle, passesIn, commit, end };
    }

    it("ticks every second until the anchor holds nobody, then hardly ever, and again once there is news", async () => {
      const { settle, passesIn, commit, end } = await quietLoop();
      expect(await passesIn(10_000)).toBe(10);
      expect(settle).toHaveBeenCalledTimes(1); // a read of the application was in the way
      expect(await passesIn(10_000)).toBe(10);
      expect(settle).toHaveBeenCalledTimes(2);
      expect(await passesIn(60_000)).toBe(12);
      expect(settle).toHaveBeenCalledTimes(2);
      await commit();
      expect(await passesIn(9_500)).toBe(9);
      expect(settle).toHaveBeenCalledTimes(2);
      await end();
    });

    it("goes on ticking every second where a commit was found of which we had not been told", async () => {
      const { world, settle, passesIn, end } = await quietLoop();
      world.captures = true;
      await passesIn(1_000);
      world.captures = false;
      await passesIn(30_000);
      expect(settle).toHaveBeenCalledTimes(2);
      expect(await passesIn(60_000)).toBe(60);
      await end();
    });
  });

  it("still runs the requests that were made before the stop, and refuses later ones", async () => {
    const loop = loopOver(async () => false);
    const requested = loop.request();
    loop.stop();
    await loop.run();
    await requested;
    await expect(loop.request()).rejects.toMatchObject({ code: "STOPPED" });
  });

  it("ends with the error of a pass, and tells everybody who waits or comes later", async () => {
    const failure = new Error("disk");
    const loop = loopOver(() => Promise.reject(failure));
    const requested = loop.request();
    requested.catch(() => {});
    await expect(loop.run()).rejects.toBe(failure);
    await expect(requested).rejects.toBe(failure);
    await expect(loop.request()).rejects.toBe(failure);
  });

  describe("while passes fail by something that passes", () => {
    const full = new Error("no room");

    /** A loop whose passes fail until `world.isFull` is false. */
    function failingLoop() {
      const world = { isFull: true, passes: 0, events: [] as string[], onPass: (): void => {} };
      const loop = loopOver(
        async () => {
          world.passes += 1;
          world.onPass();
          if (world.isFull) throw full;
          return true;
        },
        {
          isTemporary: (error) => error === full,
          onFailing: (error) => world.events.push(`failing: ${(error as Error).message}`),
          onRecovered: () => world.events.push("recovered"),
        },
      );
      return { loop, world };
    }

    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    });
    afterEach(() => vi.useRealTimers());

    it("tells those who asked, and tries again by itself, after growing pauses", async () => {
      const { loop, world } = failingLoop();
      const done = loop.run();
      await expect(loop.request()).rejects.toBe(full);
      const pauses: number[] = [];
      let lastMs = performance.now();
      world.onPass = () => {
        pauses.push(performance.now() - lastMs);
        lastMs = performance.now();
      };
      await vi.advanceTimersByTimeAsync(40_000);
      expect(pauses).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
      world.isFull = false;
      await vi.advanceTimersByTimeAsync(10_000);
      expect(world.events.slice(-2)).toEqual(["failing: no room", "recovered"]);
      await loop.request();
      loop.stop();
      await done;
    });

    it("tries at once when something may have made room, or somebody asks", async () => {
      const { loop, world } = failingLoop();
      const done = loop.run();
      await expect(loop.request()).rejects.toBe(full);
      await expect(loop.request()).rejects.toBe(full);
      expect(world.passes).toBe(2);
      const recovered = Promise.withResolvers<void>();
      world.onPass = () => recovered.resolve();
      world.isFull = false;
      loop.retry();
      await recovered.promise;
      await loop.request();
      expect(world.events.at(-1)).toBe("recovered");
      loop.stop();
      await done;
    });

    it("can be stopped", async () => {
      const { loop } = failingLoop();
      const done = loop.run();
      await expect(loop.request()).rejects.toBe(full);
      loop.stop();
      await done;
    });
  });
});

/** Resolves when notifications of the change have been delivered in this process, to the loop's own watcher too. */
async function writeAndLetItBeSeen(path: string): Promise<void> {
  const witness = watch(path);
  const seen = once(witness, "change");
  writeFileSync(path, "frames");
  await seen;
  witness.close();
}
