import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { formatTxid, type Replication } from "wal-replicator";
import { appVersion } from "../app-version.ts";
import type { Config } from "../config/config.ts";
import { drill } from "../drill/drill.ts";
import { readProofs } from "../drill/proof-store.ts";
import type { Logger } from "../logger.ts";
import { confirmedHere } from "../verify/confirmed-here.ts";
import { DrillSchedule } from "./drill-schedule.ts";
import { answerRepair, takeRequest } from "./repair-request.ts";
import { type StatusFile, stateDirectory } from "./status-file.ts";

/** The restore drills of the vault that the configuration describes. */
export function openDrills(options: {
  readonly config: Config;
  readonly database: string;
  /** As all of the daemon uses it, behind retries. */
  readonly store: ObjectStore;
  readonly replication: Pick<Replication, "snapshot">;
  readonly status: StatusFile;
  readonly log: Logger;
}): DrillSchedule {
  const { config, database, store, replication, status, log } = options;
  return new DrillSchedule({
    intervalMs: config.drillIntervalMs,
    isServerless: config.deploymentMode === "serverless",
    readProofs: (signal) => readProofs(store, { signal }),
    drill: (signal) =>
      drill({
        location: config.store,
        store,
        include: config.files.include,
        scratchParent: join(stateDirectory(database), "drill"),
        liveDatabase: database,
        confirmed: confirmedHere(database),
        engine: appVersion(),
        signal,
      }),
    snapshot: async (signal) => formatTxid((await replication.snapshot({ signal })).txid),
    takeRequest: () => takeRequest(database),
    answer: (answer) => answerRepair(database, answer),
    onStatus: (changes) => status.update(changes),
    log,
    now: Date.now,
    sleep: (ms, signal) => sleep(ms, undefined, { signal }),
    random: Math.random,
  });
}
