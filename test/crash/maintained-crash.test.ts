import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { MaintainedLife, quickPolicy } from "./maintained-life.ts";

const first = seedFromEnvironment();

describe("SIGKILL at a named point of the maintenance", () => {
  const points = [
    ["compaction-written", 1],
    ["compaction-written", 7],
    ["compaction-stored", 1],
    ["compaction-stored", 7],
    ["snapshot-written", 2],
    ["snapshot-stored", 2],
    ["retention-deleted", 2],
  ] as const;
  for (const [index, [crashAt, crashNth]] of points.entries()) {
    it(`${crashAt} (${crashNth}): what is offered restores exactly, and the next life finishes the work`, async () => {
      await using life = new MaintainedLife((first + index) >>> 0);
      await life.start();
      await life.live(60);
      await life.kill();
      if (await life.start({ crashAt, crashNth })) {
        expect(await life.liveUntilKilled(), `${crashAt} was reached`).toBe(true);
      }
      expect(await life.check()).toBeGreaterThan(1);
      const { txid } = life.newest;
      expect(await life.start()).toBe(true);
      await life.mergedBeyond(txid);
      await life.stop();
      expect(await life.check()).toBeGreaterThan(1);
    });
  }
});

describe("SIGKILL in the birth of a timeline", () => {
  for (const [index, crashAt] of (["base-written", "base-stored"] as const).entries()) {
    it(`${crashAt}: both lines restore, and the next life stores the base`, async () => {
      await using life = new MaintainedLife((first + 100 + index) >>> 0, {
        ...quickPolicy,
        // The line that is left is kept as long as the test takes.
        keepMs: [600_000, 600_000, 600_000],
      });
      await life.start();
      await life.live(20);
      const branchedAt = life.newest;
      await life.live(40);
      const left = life.newest;
      await life.rewind(branchedAt);
      if (await life.start({ crashAt })) {
        expect(await life.liveUntilKilled(), `${crashAt} was reached`).toBe(true);
      }
      expect(await life.start()).toBe(true);
      if (crashAt === "base-written") {
        await expect
          .poll(() => life.engine.events.some(({ type }) => type === "base-stored"))
          .toBe(true);
      }
      await life.live(30);
      const { timeline, txid } = life.newest;
      expect(timeline).not.toBe(left.timeline);
      await life.mergedBeyond(txid);
      await life.stop();
      const files = await life.files(timeline);
      expect(files.filter(({ level }) => level === 9).length).toBeGreaterThan(0);
      expect(files.every(({ level, minTxid }) => level === 9 || minTxid > branchedAt.txid)).toBe(
        true,
      );
      expect(await life.check()).toBeGreaterThan(1);
      await life.expectRestores(left);
    });
  }
});

describe("SIGKILL at random, with maintenance", () => {
  const lives = Number(process.env["CRASH_SEEDS"] ?? 2);
  for (let index = 0; index < lives; index++) {
    const seed = (first + 1_000 + index) >>> 0;
    it(`seed ${seed}: what is offered restores exactly, life after life`, async () => {
      await using life = new MaintainedLife(seed);
      for (let round = 0; round < 4; round++) {
        expect(await life.start()).toBe(true);
        await life.live(1);
        const dying = new Promise((resolve) => setTimeout(resolve, life.prng.integer(0, 1_500)));
        await Promise.all([dying.then(() => life.kill()), life.liveUntilKilled()]);
        await life.check();
      }
      const { txid } = life.newest;
      await life.start();
      await life.mergedBeyond(txid);
      await life.stop();
      expect(await life.check()).toBeGreaterThan(1);
    });
  }
});
