import { createPrng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { describe, it } from "vitest";
import { playAtRandom } from "./random-lives.ts";
import { Stage, type StageOptions } from "./stage.ts";

const first = seedFromEnvironment();
const seedCount = Number(process.env["WRITER_SEEDS"] ?? 2);
const tenMinutesMs = 600_000;

const stages: Readonly<Record<string, StageOptions>> = {
  directory: { store: "directory", clockOffsetsMs: [tenMinutesMs, 0] },
  "honours conditions": { store: "aws", clockOffsetsMs: [0, tenMinutesMs] },
  "judges conditions too early": { store: "early-judge" },
  "ignores conditions": { store: "garage-ignores" },
  "inverts conditions": { store: "ceph-inverted" },
  "refuses conditions": { store: "b2" },
  "loses answers": {
    store: "aws",
    faults: { seed: first, probability: 0.1, faults: [{ kind: "drop", when: "after" }] },
  },
};

for (const [name, options] of Object.entries(stages)) {
  describe(name, () => {
    for (let index = 0; index < seedCount; index++) {
      const seed = (first + index * 2) >>> 0;
      it(`two hosts at random, seed ${seed}: nothing acknowledged is lost, no lines are blended`, async () => {
        await using stage = await Stage.open(options);
        await playAtRandom(stage, [createPrng(seed), createPrng((seed + 1) >>> 0)]);
      });
    }
  });
}
