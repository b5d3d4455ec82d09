import { describe, expect, it } from "vitest";
import {
  onlySeed,
  refuseFailure,
  runSimulation,
  simulatedDays,
  sparseSeeds,
} from "./run-simulation.ts";

const days = simulatedDays(2);
/** A process each, so that a failure does not hide the others. */
const batch = 50;

describe("a quiet vault for two days, by a virtual clock and a policy that is as much shorter", () => {
  if (onlySeed === undefined) {
    for (let first = 1; first <= sparseSeeds; first += batch) testSeeds(first, batch);
  } else testSeeds(onlySeed, 1);
});

function testSeeds(seed: number, seeds: number): void {
  it(`seeds ${seed} to ${seed + seeds - 1}: every step leaves what is offered`, async () => {
    const run = { density: "sparse", days, seed, seeds } as const;
    const lines = await runSimulation(run);
    refuseFailure(lines, run);
    expect(lines).toHaveLength(seeds);
    // They did something: else all of it would hold.
    for (const { deletes, restores } of lines) {
      expect(deletes).toBeGreaterThan(0);
      expect(restores).toBeGreaterThan(20);
    }
  });
}
