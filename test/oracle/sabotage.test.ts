import { describePeer, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { MutatedSources, type Mutation } from "./mutated-sources.ts";
import { OracleMismatch, runOracle } from "./oracle-run.ts";

/**
 * Goal: the oracle can fail. Method: one guard is removed from a copy of the sources, and the oracle must notice within 50 seeds.
 * The six are those of the capture protocol; a mutation whose text is not found exactly once is an error, so they cannot rot.
 */
const sabotages: readonly Mutation[] = [
  {
    name: "no rotation: nothing holds the WAL",
    file: "ship/anchor.ts",
    edits: [{ find: "this.#successor.beginRead();", replace: "" }],
  },
  {
    name: "no growth pages",
    file: "ship/capture.ts",
    edits: [
      {
        find: "if (missing.length === 0) return [];",
        replace: "if (missing.length >= 0) return [];",
      },
    ],
  },
  {
    name: "trusted salts: equal salts are taken for the same frames, without their sums",
    file: "sqlite/wal-reader.ts",
    edits: [
      {
        find: 'if (position.frameCount === 0) return "no-frame";',
        replace: 'if (position.frameCount >= 0) return "match";',
      },
      {
        find: "const isProved = sumsEqual(frame.sums, sums) || isBehindUnsealed;",
        replace: "const isProved = saltsEqual(frame.salt, salt);",
      },
    ],
  },
  {
    name: "skipped tail: the anchor moves around a checkpoint without a capture",
    file: "ship/session.ts",
    edits: [
      {
        find: "await this.#rotate();\n    };",
        replace: "await this.#connections.anchor.rotate(async () => undefined);\n    };",
      },
    ],
  },
  {
    name: "ghost frame accepted: frames are read as far as they are valid",
    file: "ship/capture.ts",
    edits: [
      { find: "if (logFrames === from.frameCount)", replace: "if (logFrames < 0)" },
      {
        find: "scanWal(wal, header, from, logFrames)",
        replace: "scanWal(wal, header, from, 0x7fffffff)",
      },
      {
        find: 'if (scan.stop !== "limit" || scan.end.frameCount !== logFrames) {',
        replace: 'if (scan.commit === 0) return "nothing";\n    if (logFrames < 0) {',
      },
    ],
  },
  {
    name: "no page comparison after a gap",
    file: "ship/plan-resume.ts",
    edits: [
      { find: 'if (now === saved.rollingChecksum) return "same";', replace: 'return "same";' },
    ],
  },
];

const seedsMax = 50;

describePeer(describe, "sqlite3", "sabotaged engine", () => {
  const first = seedFromEnvironment();

  it("is the engine itself as long as nothing is sabotaged", async () => {
    using sources = new MutatedSources({ name: "control", file: "ship/capture.ts", edits: [] });
    await runOracle({ seed: first, rounds: 12, engineModule: sources.module });
  });

  for (const sabotage of sabotages) {
    it(`is found out: ${sabotage.name}`, async () => {
      using sources = new MutatedSources(sabotage);
      for (let index = 0; index < seedsMax; index++) {
        const seed = (first + index) >>> 0;
        try {
          await runOracle({ seed, rounds: 12, engineModule: sources.module });
        } catch (error) {
          expect(error).toBeInstanceOf(OracleMismatch);
          console.log(
            `${sabotage.name}: found with seed ${seed}, number ${index + 1}: ${(error as Error).message}`,
          );
          return;
        }
      }
      expect.fail(`not found within ${seedsMax} seeds`);
    });
  }
});
