import { rmSync, statSync } from "node:fs";
import type { StoreLocation } from "@vaultwarden-stream/object-store";
import {
  formatTxid,
  type RestoreProgress,
  type RestoreResult,
  restore,
  spoolDirectory,
  type Txid,
} from "wal-replicator";
import { timelinesUnder } from "../daemon/inspect-store.ts";
import { asidePath, discardIncoming, incomingPath, swapDatabase } from "./swap-database.ts";

/** Which recovery point; the newest of the head if nothing is given. */
export interface WantedPoint {
  /** The newest state before this time. */
  readonly at?: Date;
  readonly txid?: Txid;
  readonly timeline?: string;
}

export interface RestoreIntoPlaceOptions {
  /** Where the database goes. What lies there is kept aside. Nobody may have it open. */
  readonly database: string;
  readonly store: StoreLocation;
  readonly wanted: WantedPoint;
  /** Leave what the stream needs to go on from here; for a database that a vault will run on. */
  readonly keepsResumeState: boolean;
  readonly onProgress?: (progress: RestoreProgress) => void;
  readonly signal?: AbortSignal;
}

export interface RestoredDatabase {
  readonly result: RestoreResult;
  /** Where the database that was there is kept; undefined: there was none. */
  readonly aside: string | undefined;
}

/**
 * Restores beside the database, verifies, and only then swaps it in by rename (architecture.md D11). Whatever fails before the swap
 * leaves the database untouched; a kill in the swap is finished by the next start.
 */
export async function restoreIntoPlace(
  options: RestoreIntoPlaceOptions,
): Promise<RestoredDatabase> {
  const { database, signal } = options;
  const { at, ...point } = options.wanted;
  const incoming = incomingPath(database);
  discardIncoming(database);
  const result = await restore({
    replica: options.store,
    timelinesUnder,
    target: incoming,
    ...point,
    ...(at === undefined ? {} : { before: at }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (!options.keepsResumeState) {
    rmSync(spoolDirectory(incoming), { recursive: true, force: true });
  }
  signal?.throwIfAborted();
  const hadDatabase = statSync(database, { throwIfNoEntry: false }) !== undefined;
  const aside = asidePath(database, new Date());
  await swapDatabase(database, { incoming, aside });
  return { result, aside: hadDatabase ? aside : undefined };
}

/** For people: `the database at 2026-11-24T21:54:21.123Z (TXID 000000000000001f)`. */
export function describePoint(at: Date, txid: Txid): string {
  return `the database at ${at.toISOString()} (TXID ${formatTxid(txid)})`;
}
