import type { ObjectStore, StoreLocation } from "@vaultwarden-stream/object-store";
import {
  type IfHeld,
  type OnDivergence,
  type PreparedDatabase,
  type PrepareOptions,
  policyWithin,
  prepareDatabase,
  type ReplicateOptions,
  type Replication,
  ReplicationError,
  type ReplicationEvent,
  replicate,
} from "wal-replicator";
import type { Logger } from "../logger.ts";
import { describePoint } from "../restore/describe-point.ts";
import { finishVaultSwap } from "../restore/vault-swap.ts";
import { createEmptyDatabase } from "./empty-database.ts";
import { checkFirstRun } from "./first-run.ts";
import { describeStore, timelinesUnder } from "./vault-store.ts";

export interface StartOptions {
  readonly database: string;
  readonly store: StoreLocation;
  /** The same, open: what the stream sends goes through it. */
  readonly openStore: ObjectStore;
  readonly allowsEmptyStart: boolean;
  readonly onDivergence: OnDivergence;
  readonly ifHeld: IfHeld;
  readonly syncIntervalMs: number;
  readonly snapshotIntervalMs: number;
  readonly retentionMs: number;
  readonly log: Logger;
  readonly onEvent: (event: ReplicationEvent) => void;
  /** Restores the vault's files with a restored database, and puts both in their place. */
  readonly publish: PrepareOptions["publish"] & {};
  readonly onRestoreProgress: PrepareOptions["onProgress"] & {};
  /** Aborts whatever the start waits for. */
  readonly signal: AbortSignal;
}

/**
 * Sees to it that there is a database (the one that is there, the store's with its files, or on a first run an empty one) and starts its stream, as the
 * engine's start table says. A database that lacks what the store has is kept aside and replaced by the store's, once.
 *
 * @throws {ObjectStoreError} if an answer of the store is needed and does not come; then nothing was written anywhere.
 * @throws {ReplicationError} `START_REFUSED`, `LOCAL_DIVERGED` with what to do about it.
 */
export async function openStream(options: StartOptions): Promise<Replication> {
  const { database, log, signal } = options;
  const aside = await finishVaultSwap(database);
  if (aside !== undefined) {
    log.warn(`finished an interrupted restore; what was there before is kept as ${aside}`);
  }
  const prepared = await prepareDatabase(preparation(options));
  if (prepared.outcome === "nothing-anywhere") await beginVault(options);
  else report(prepared, log);
  try {
    return await start(options);
  } catch (error) {
    if (codeOf(error) !== "LOCAL_BEHIND") throw withSettings(error);
    const { message } = error as Error;
    log.warn(`the store is ahead of the database here: ${message}. Keeping it aside and restoring`);
    signal.throwIfAborted();
    report(await prepareDatabase({ ...preparation(options), restoreBecause: message }), log);
    return start(options);
  }
}

function start(options: StartOptions): Promise<Replication> {
  const { onDivergence, syncIntervalMs } = options;
  return replicate({
    ...shared(options),
    onDivergence,
    syncIntervalMs,
    maintenance: policyWithin(options),
    // This process opens the database by no other means.
    home: "in-process",
    // The server would switch it itself, beside our anchor, and fail.
    convertToWal: true,
  });
}

function shared(options: StartOptions): ReplicateOptions & { readonly store: ObjectStore } {
  const { database, store: replica, openStore: store, ifHeld, onEvent, signal } = options;
  return { database, replica, store, timelinesUnder, ifHeld, onEvent, signal };
}

function preparation(options: StartOptions): PrepareOptions {
  const { publish, onRestoreProgress: onProgress } = options;
  return { ...shared(options), publish, onProgress };
}

async function beginVault(options: StartOptions): Promise<void> {
  const { database, store, log, signal } = options;
  const warning = await checkFirstRun(options);
  log.info(
    `there is no database here, and nobody ever wrote to ${describeStore(store)}: beginning an empty vault`,
  );
  if (warning !== undefined) log.warn(warning);
  signal.throwIfAborted();
  await createEmptyDatabase(database);
}

function report(prepared: PreparedDatabase, log: Logger): void {
  if (prepared.outcome !== "restored") return;
  const { why, result, aside } = prepared;
  log.info(`restored and verified ${describePoint(result.timestamp, result.txid)}: ${why}`);
  for (const key of result.damagedKeys) {
    log.warn(`${key} is damaged in the store; other files made up for it`);
  }
  if (aside !== undefined) log.warn(`what was there before is kept as ${aside}`);
}

/** The engine knows what to decide; how it is said to the daemon is known here. */
function withSettings(error: unknown): unknown {
  if (codeOf(error) !== "LOCAL_DIVERGED") return error;
  const { message, hint } = error as ReplicationError;
  return new ReplicationError(
    "LOCAL_DIVERGED",
    message,
    `${hint} For one start, ON_DIVERGENCE=remote goes on with the store's and ON_DIVERGENCE=local with the one here.`,
    { cause: error },
  );
}

function codeOf(error: unknown): string | undefined {
  return error instanceof ReplicationError ? error.code : undefined;
}
