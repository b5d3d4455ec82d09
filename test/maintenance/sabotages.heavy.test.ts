import { describe, expect, it } from "vitest";
import { refuseFailure, runSimulation } from "./run-simulation.ts";
import { sabotages } from "./sabotages.ts";

/**
 * Goal: the simulator can fail. Method: one rule is removed from the sources as they are loaded, and some seed must notice. A mutation whose text
 * is not found exactly once is an error, so they cannot rot.
 */
const seedsMax = 30;
const run = { density: "sparse", days: 2, seed: 1, seeds: seedsMax } as const;

describe("sabotaged maintenance", () => {
  it("is the engine itself as long as nothing is sabotaged", async () => {
    const control = { ...run, seeds: 1, mutation: { name: "control", edits: [] } };
    refuseFailure(await runSimulation(control), control);
  });

  for (const mutation of sabotages) {
    it(`is found out: ${mutation.name}`, async () => {
      const lines = await runSimulation({ ...run, mutation });
      const last = lines.at(-1);
      if (last?.error === undefined) expect.fail(`not found within ${seedsMax} seeds`);
      expect(last.error).toBe("LawBroken");
      process.stderr.write(`${mutation.name}: seed ${last.seed}: ${last.message}\n`);
    });
  }
});
