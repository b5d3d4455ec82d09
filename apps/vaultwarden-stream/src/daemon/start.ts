import { statSync } from "node:fs";
import { openObjectStore, type StoreLocation } from "@vaultwarden-stream/object-store";
import { listReplica, type Replication, type ReplicationEvent, replicate } from "wal-replicator";
import { CommandError } from "wal-replicator/command-line";
import type { Logger } from "../logger.ts";
import { forgetChoice, isChosen } from "../restore/operator-choice.ts";
import { describePoint, restoreIntoPlace } from "../restore/restore-into-place.ts";
import { finishSwap } from "../restore/swap-database.ts";
import { createEmptyDatabase } from "./empty-database.ts";
import { inspectStore, timelinesUnder } from "./inspect-store.ts";
import { isCovered, judgePosition } from "./judge-position.ts";
import { planStart, type StartPlan } from "./plan-start.ts";
import { readSpoolContents } from "./spool-contents.ts";

export interface StartOptions {
  readonly database: string;
  readonly store: StoreLocation;
  readonly log: Logger;
  /** Aborts whatever the start waits for. */
  readonly signal: AbortSignal;
}

/**
 * Sees to it that there is a database to stream: the one that is there, the store's, or on a first run an empty one.
 *
 * @throws {ObjectStoreError} if the store does not answer; then nothing was written anywhere.
 * @throws {CommandError} `START_REFUSED` with what to do about it.
 */
export async function prepareDatabase(options: StartOptions): Promise<void> {
  const { database, log, signal } = options;
  const aside = await finishSwap(database);
  if (aside !== undefined)
    log.warn(`finished an interrupted restore; what was there before is kept as ${aside}`);

  const plan = await planPreparation(options);
  switch (plan.action) {
    case "replicate":
      return;
    case "create-empty":
      log.info(`${plan.why}: beginning an empty vault`);
      signal.throwIfAborted();
      return createEmptyDatabase(database);
    case "restore":
      log.info(`${plan.why}: restoring`);
      return restoreNewest(options);
    case "stop":
      throw new CommandError("START_REFUSED", {
        what: `the vault is not started on ${database}`,
        why: plan.why,
        next: plan.next,
      });
  }
}

/** Starts the stream. A database that lacks what the store has is kept aside and replaced by the store's, once. */
export async function startStream(
  options: StartOptions,
  syncIntervalMs: number,
  onEvent: (event: ReplicationEvent) => void,
): Promise<Replication> {
  const { database, log } = options;
  const start = (): Promise<Replication> =>
    replicate({
      database,
      replica: options.store,
      // This process opens the database by no other means.
      home: "in-process",
      timelinesUnder,
      syncIntervalMs,
      // The server would switch it itself, beside our anchor, and fail.
      convertToWal: true,
      onEvent,
      signal: options.signal,
    });
  let why = await findWhyBehind(options);
  if (why === undefined) {
    try {
      const replication = await start();
      forgetChoice(database);
      return replication;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "LOCAL_BEHIND") throw error;
      why = (error as Error).message;
    }
  }
  log.warn(`the database here is behind the store: ${why}. Keeping it aside and restoring`);
  await restoreNewest(options);
  return start();
}

/** @returns why the store's history has to be restored first, or undefined. @throws {CommandError} `LOCAL_DIVERGED` */
async function findWhyBehind({
  database,
  store,
  signal,
}: StartOptions): Promise<string | undefined> {
  const local = readSpoolContents(database);
  if (local === undefined || isChosen(database)) return undefined;
  const lineage = await listReplica({ replica: store, timelinesUnder, signal }).catch(
    ifNothingStored,
  );
  const judged = lineage === undefined ? undefined : judgePosition(local, lineage);
  if (judged?.verdict !== "diverged") return judged?.verdict === "behind" ? judged.why : undefined;
  throw new CommandError("LOCAL_DIVERGED", {
    what: `the vault is not started on ${database}`,
    why: `the database here and the store both have what the other lacks: ${judged.why}`,
    next: "decide which one goes on: `restore --yes` takes the store's and keeps this one aside; `restore --undo` after it takes this one, and the store keeps both",
  });
}

async function planPreparation(options: StartOptions): Promise<StartPlan> {
  const { database, store, signal } = options;
  // Throws where it may not look: that is not "nothing there" either.
  if (statSync(database, { throwIfNoEntry: false }) !== undefined) {
    return planStart({ database: "present", waitingFiles: 0, store: undefined });
  }
  const found = await inspectStore(openObjectStore(store), signal);
  const spool = readSpoolContents(database);
  let waitingFiles = 0;
  if (spool !== undefined && spool.waiting.length > 0) {
    const listing = await listReplica({ replica: store, timelinesUnder, signal }).catch(
      ifNothingStored,
    );
    const stored =
      listing?.timelines.find(({ timeline }) => timeline === spool.timeline)?.files ?? [];
    waitingFiles = spool.waiting.filter((range) => !isCovered(range, stored)).length;
  }
  return planStart({ database: "missing", waitingFiles, store: found });
}

/** A store that holds no recovery point yet is an answer; everything else that goes wrong is an error. */
function ifNothingStored(error: unknown): undefined {
  if ((error as { code?: unknown }).code !== "NOTHING_TO_RESTORE") throw error;
}

async function restoreNewest({ database, store, log, signal }: StartOptions): Promise<void> {
  const { result, aside } = await restoreIntoPlace({
    database,
    store,
    wanted: {},
    keepsResumeState: true,
    signal,
  });
  log.info(`restored and verified ${describePoint(result.timestamp, result.txid)}`);
  for (const key of result.damagedKeys) {
    log.warn(`${key} is damaged in the store; other files made up for it`);
  }
  if (aside !== undefined) log.warn(`what was there before is kept as ${aside}`);
}
