import { existsSync, rmSync, statSync } from "node:fs";
import type { RetryNotice } from "@vaultwarden-stream/object-store";
import type { Txid } from "../ltx/txid.ts";
import type { ReplicateOptions } from "../replication.ts";
import { restore } from "../restore-replica.ts";
import { Spool, spoolDirectory } from "../ship/spool.ts";
import { noteNonces, readNonces } from "../ship/spool-nonces.ts";
import type { RestoreProgress, RestoreResult } from "./restore.ts";
import { asidePath, discardIncoming, incomingPath, swapDatabase } from "./swap-database.ts";

export interface RestoreIntoPlaceOptions {
  /** Where the database goes. What lies there is kept aside, with its WAL and its spool. Nobody may have it open. */
  readonly database: string;
  readonly replica: ReplicateOptions["replica"];
  readonly timelinesUnder?: string;
  /** The newest state before this time, along the head's lineage. Default: the newest. */
  readonly before?: Date;
  readonly txid?: Txid;
  readonly timeline?: string;
  /** Leave what a stream needs to go on from here: for a database that an application will run on. Default true. */
  readonly keepsResumeState?: boolean;
  /**
   * Puts the restored database in its place, instead of `swapDatabase` alone: for a host that swaps other files in with it. It has to call
   * `swapDatabase` with these names, and to see to it that a kill in between is finished at the next start.
   */
  readonly publish?: (restored: BuiltDatabase) => Promise<void>;
  readonly onProgress?: (progress: RestoreProgress) => void;
  readonly onRetry?: (notice: RetryNotice) => void;
  readonly signal?: AbortSignal;
}

/** A restored and verified database that lies beside its place. */
export interface BuiltDatabase {
  readonly result: RestoreResult;
  /** Where it lies, on the same file system. It may be read; nothing else may be done to it. */
  readonly incoming: string;
  /** Where what is in its place now has to go. */
  readonly aside: string;
}

export interface RestoredDatabase {
  readonly result: RestoreResult;
  /** Where the database that was there is kept; undefined: there was none. */
  readonly aside: string | undefined;
}

/**
 * Restores beside the database, verifies, and only then swaps it in by rename (architecture.md D11). Whatever fails before the swap
 * leaves the database untouched; a kill in the swap is finished by `finishSwap` at the next start.
 *
 * @throws as `restore` does.
 */
export async function restoreIntoPlace(
  options: RestoreIntoPlaceOptions,
): Promise<RestoredDatabase> {
  const { database, keepsResumeState = true, publish, ...rest } = options;
  const incoming = incomingPath(database);
  discardIncoming(database);
  const result = await restore({ ...rest, target: incoming });
  if (keepsResumeState) await carryNonces(database, incoming);
  else rmSync(spoolDirectory(incoming), { recursive: true, force: true });
  options.signal?.throwIfAborted();
  const hadDatabase = statSync(database, { throwIfNoEntry: false }) !== undefined;
  const aside = asidePath(database, new Date());
  if (publish === undefined) await swapDatabase(database, { incoming, aside });
  else await publish({ result, incoming, aside });
  return { result, aside: hadDatabase ? aside : undefined };
}

/** The epochs that were taken from here are ours after the restore too: without it we would wait for our own lease. */
async function carryNonces(database: string, incoming: string): Promise<void> {
  const nonces = await noncesOf(database);
  if (nonces.length === 0) return;
  const spool = await Spool.open(spoolDirectory(incoming));
  try {
    await noteNonces(spool, nonces);
  } finally {
    spool.close();
  }
}

async function noncesOf(database: string): Promise<readonly string[]> {
  if (!existsSync(spoolDirectory(database))) return [];
  const spool = await Spool.open(spoolDirectory(database));
  try {
    return await readNonces(spool);
  } finally {
    spool.close();
  }
}
