import { describe, expect, it } from "vitest";
import { onlySeed, refuseFailure, runSimulation, simulatedDays } from "./run-simulation.ts";

const days = simulatedDays(60);
const seeds = onlySeed === undefined ? [1, 2, 3] : [onlySeed];

describe("a busy vault for two months, by a virtual clock", () => {
  for (const seed of seeds) {
    it(`seed ${seed}: what is offered restores, what is not is gone, and it costs what it may`, async () => {
      const run = { density: "dense", days, seed } as const;
      const lines = await runSimulation(run);
      refuseFailure(lines, run);
      const [line] = lines;
      process.stderr.write(`${JSON.stringify(line)}\n`);
      // It did something: else all of it would hold.
      expect(line?.checks).toBeGreaterThan(days * 5);
      expect(line?.deletes).toBeGreaterThan(days * 100);
    });
  }
});
