/**
 * A follower as a process of its own, which kills itself at a named point if its arguments say so. It ends by SIGTERM, and prints how.
 * Arguments: directory of the store, path of the copy.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { argumentsWithoutCrashPoint, crashPointsFromArguments } from "@vaultwarden-stream/testkit";
import { toJson } from "wal-replicator/command-line";
import { RunningFollower, rootOfStore } from "wal-replicator/internals";

const [storeDirectory, copy] = argumentsWithoutCrashPoint() as [string, string];
const follower = new RunningFollower(
  {
    replica: storeDirectory,
    output: copy,
    pollIntervalMs: 5,
    onEvent: (event) => process.stdout.write(`${toJson(event)}\n`),
  },
  {
    root: rootOfStore(new DirectoryStore(storeDirectory)),
    now: Date.now,
    nowMs: () => performance.now(),
    sleep: async (ms, signal) => {
      await sleep(ms, undefined, { signal }).catch(() => {});
    },
    at: crashPointsFromArguments(),
  },
);
follower.ready.then(
  () => process.stdout.write(`${toJson({ type: "ready" })}\n`),
  () => {}, // `done` says why
);
process.once("SIGTERM", () => void follower.stop());
process.stdout.write(`${toJson((await follower.done) ?? null)}\n`);
