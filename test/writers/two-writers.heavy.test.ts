import { findPeer, type S3FaultPlanData, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { describe, it } from "vitest";
import { scenarios } from "./scenarios.ts";
import { Stage, type StageOptions } from "./stage.ts";

const seed = seedFromEnvironment();
const tenMinutesMs = 600_000;

/** The answer to every sixth request is lost on its way, when all is done. */
const losesAnswers: S3FaultPlanData = {
  seed,
  probability: 0.16,
  faults: [{ kind: "drop", when: "after" }],
};
/** Whatever touches an epoch takes a while. */
const delaysConditions: S3FaultPlanData = [
  { match: { operation: "PutObject", keyPattern: "epochs/" }, fault: { kind: "latency", ms: 400 } },
];

const stages: Readonly<Record<string, StageOptions>> = {
  "refuses conditions": { store: "b2" },
  "ignores conditions": { store: "garage-ignores" },
  "ignores conditions with 200": { store: "oracle-200" },
  "inverts conditions": { store: "ceph-inverted" },
  "judges conditions too early": { store: "early-judge" },
  "one write a second per key": { store: "r2" },
  "unsorted listings": { store: "storj-unsorted" },
  [`loses answers, seed ${seed}`]: { store: "aws", faults: losesAnswers },
  [`ignores conditions and loses answers, seed ${seed}`]: {
    store: "garage-ignores",
    faults: losesAnswers,
  },
  "delays conditions": { store: "aws", faults: delaysConditions },
  "delays what it judges too early": { store: "early-judge", faults: delaysConditions },
  "clocks ten minutes apart, the first one late": {
    store: "aws",
    clockOffsetsMs: [-tenMinutesMs / 2, tenMinutesMs / 2],
  },
  "clocks ten minutes apart, the first one early": {
    store: "aws",
    clockOffsetsMs: [tenMinutesMs, 0],
  },
  "clocks ten minutes apart, on a directory": {
    store: "directory",
    clockOffsetsMs: [tenMinutesMs, 0],
  },
};

for (const [name, options] of Object.entries(stages)) playAll(name, options);
for (const peer of ["minio", "versitygw"] as const) {
  const search = findPeer(peer);
  if (search.found) playAll(peer, { store: peer });
  else if (process.env["CI"] === "true") throw new Error(search.reason);
  else describe.skip(`${peer} (skipped: ${search.reason})`, () => {});
}

function playAll(name: string, options: StageOptions): void {
  describe(name, () => {
    for (const scenario of scenarios) {
      it(scenario.name, async () => {
        await using stage = await Stage.open(options);
        await scenario.play(stage);
      });
    }
  });
}
