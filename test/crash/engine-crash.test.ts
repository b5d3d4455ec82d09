import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { CrashLife } from "./crash-life.ts";

const first = seedFromEnvironment();

/** The named points of `ship/crash-point.ts`, and how often each is hit before it kills. */
const crashPoints = [
  "epoch-taken",
  "timeline-entered",
  "captured-not-durable",
  "spooled",
  "barrier-held",
  "checkpointed",
  "stored-not-marked",
  "marked",
] as const;
const stopPoints = ["flushed", "state-saved", "released"] as const;

describe("SIGKILL at a named point", () => {
  for (const [index, crashAt] of crashPoints.entries()) {
    it(`${crashAt}: nothing confirmed is lost, and the stream goes on`, async () => {
      await using life = new CrashLife((first + index) >>> 0);
      await life.startWriter();
      for (const crashNth of [1, 3]) {
        const outcome = await life.startEngine({
          crashAt,
          crashNth: crashPoints.indexOf(crashAt) < 2 ? 1 : crashNth,
        });
        if (outcome === "running") {
          expect(await life.writeUntilEngineEnds(20_000), `${crashAt} was reached`).toBe(true);
          await life.killEngine();
        }
        await life.write(30);
        await life.startEngine();
        await life.write(50);
        await life.confirm();
        await life.checkRestored();
        await life.killEngine();
      }
    });
  }

  for (const [index, crashAt] of stopPoints.entries()) {
    it(`${crashAt}, in the end: the next start goes on`, async () => {
      await using life = new CrashLife((first + 100 + index) >>> 0);
      await life.startWriter();
      await life.startEngine({ crashAt });
      await life.write(100);
      await life.confirm();
      await expect(life.engine.stop(false)).rejects.toMatchObject({ code: "CRASHED" });
      await life.checkRestored();
      await life.startEngine();
      await life.write(30);
      await life.confirm();
      await life.checkRestored();
    });
  }
});

describe("SIGKILL at random, and power cuts", () => {
  const lives = Number(process.env["CRASH_SEEDS"] ?? 4);
  for (let index = 0; index < lives; index++) {
    const seed = (first + 1_000 + index) >>> 0;
    it(`seed ${seed}: each restored database is a committed state, never older than what was confirmed`, async () => {
      await using life = new CrashLife(seed);
      await life.startWriter();
      await life.startEngine();
      // On a busy machine the first kill may come before anything is stored, and then there is nothing to restore.
      await life.confirm();
      for (let round = 0; round < 8; round++) {
        life.resume();
        await life.write(life.prng.integer(5, 150));
        if (life.prng.chance(0.5)) await life.confirm();
        life.resume();
        await life.write(life.prng.integer(0, 80));
        switch (life.prng.pick(["engine", "writer", "both", "power cut", "stop"] as const)) {
          case "engine":
            await life.killEngine();
            await life.write(life.prng.integer(0, 50));
            break;
          case "writer":
            life.resume();
            await life.killWriter();
            await life.killEngine();
            await life.startWriter();
            break;
          case "both":
            life.resume();
            await Promise.all([life.killEngine(), life.killWriter()]);
            await life.startWriter();
            break;
          case "power cut":
            await life.powerCut();
            break;
          case "stop":
            await life.stopEngine();
        }
        await life.checkRestored();
        await life.startEngineThenWriter();
        await life.write(20);
        await life.confirm();
        await life.checkRestored();
      }
    });
  }
});
