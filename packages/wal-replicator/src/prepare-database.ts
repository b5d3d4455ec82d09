import { statSync } from "node:fs";
import { makeSessionDeps, type ReplicatorDeps } from "./make-session-deps.ts";
import type { ReplicateOptions } from "./replication.ts";
import {
  type RestoredDatabase,
  type RestoreIntoPlaceOptions,
  restoreIntoPlace,
} from "./restore/restore-into-place.ts";
import { finishSwap } from "./restore/swap-database.ts";
import { shipSpool } from "./ship/ship-spool.ts";
import { Spool, spoolDirectory } from "./ship/spool.ts";
import { readNonces } from "./ship/spool-nonces.ts";
import { readOutlook } from "./start/outlook.ts";
import { refusal } from "./start/refusal.ts";

export interface PrepareOptions
  extends Pick<
    ReplicateOptions,
    "database" | "replica" | "store" | "limits" | "timelinesUnder" | "ifHeld" | "onEvent" | "signal"
  > {
  /** Put the store's newest state in the place of the database that is there: `replicate` has refused it with `LOCAL_BEHIND`. Its message. */
  readonly restoreBecause?: string;
  /** How a restored database is put in its place. Default: `swapDatabase`. */
  readonly publish?: RestoreIntoPlaceOptions["publish"];
  readonly onProgress?: RestoreIntoPlaceOptions["onProgress"];
  readonly onRetry?: RestoreIntoPlaceOptions["onRetry"];
}

export type PreparedDatabase =
  /** There is a database: `replicate` decides about it, from both sides' positions. */
  | { readonly outcome: "present" }
  | ({ readonly outcome: "restored"; readonly why: string } & RestoredDatabase)
  /** Nobody ever wrote to this place of the store, and there is nothing here: a first run. Whoever owns the application makes its database. */
  | { readonly outcome: "nothing-anywhere" };

/**
 * Makes the database ready for its stream, before the application starts (architecture.md 5): finishes an interrupted swap, ships what only
 * the spool has, restores where there is no database or the store's has to take its place. Nobody may have the database open.
 *
 * @throws {ReplicationError} `START_REFUSED` if a database was here or in the store, and is nowhere now. @throws {ReplicationError} `HELD`.
 * @throws errors of the store as they are: then nothing was written anywhere. @throws as `restore` does.
 */
export async function prepareDatabase(
  options: PrepareOptions,
  testDeps: ReplicatorDeps = {},
): Promise<PreparedDatabase> {
  const { database, restoreBecause } = options;
  await finishSwap(database);
  // Throws where it may not look: that is not "nothing there" either.
  const isPresent = statSync(database, { throwIfNoEntry: false }) !== undefined;
  if (isPresent && restoreBecause === undefined) return { outcome: "present" };
  if (isPresent) return restoreNewest(options, restoreBecause ?? "");

  const deps = makeSessionDeps(options, testDeps);
  const signal = options.signal ?? new AbortController().signal;
  const spool = await Spool.open(spoolDirectory(database));
  let why: string;
  try {
    for (;;) {
      const ownNonces = await readNonces(spool);
      const outlook = await readOutlook(deps, spool, ownNonces, signal, { database: "missing" });
      const { plan } = outlook;
      if (plan.action === "nothing-anywhere") return { outcome: "nothing-anywhere" };
      if (plan.action === "held" || plan.action === "stop") throw refusal(plan);
      if (plan.action === "restore") {
        why = plan.why;
        break;
      }
      await shipSpool(deps, spool, outlook, signal);
    }
  } finally {
    spool.close();
  }
  return restoreNewest(options, why);
}

async function restoreNewest(options: PrepareOptions, why: string): Promise<PreparedDatabase> {
  const { database, replica, timelinesUnder, publish, onProgress, onRetry, signal } = options;
  const restored = await restoreIntoPlace({
    database,
    replica,
    ...(timelinesUnder === undefined ? {} : { timelinesUnder }),
    ...(publish === undefined ? {} : { publish }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(onRetry === undefined ? {} : { onRetry }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { outcome: "restored", why, ...restored };
}
