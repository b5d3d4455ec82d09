import { isNotFound, type ObjectStoreError } from "@vaultwarden-stream/object-store";
import type { Txid } from "../ltx/txid.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import type { PageChecksums } from "../ship/page-checksums.ts";
import { type ApplyOptions, applyFiles } from "./apply-ltx.ts";
import { FileDamaged } from "./part-applier.ts";
import type { LineageTarget } from "./plan-lineage.ts";
import { type DatabaseRestorePlan, readRestorePlan } from "./read-plan.ts";
import { RestoreFile } from "./restore-file.ts";
import { checkIntegrity, checkIntegrityApart } from "./verify-database.ts";

export interface RestoreOptions extends LineageTarget, Pick<ApplyOptions, "threadBytesMin"> {
  readonly root: ReplicaRoot;
  /** Path of the database file to make. Its directory is created if it is missing. */
  readonly path: string;
  /** Replace what is at `path`, with its `-wal` and `-shm`. Nobody may have it open. Default: refuse. */
  readonly overwrite?: boolean;
  /** Leave `integrity_check` out: for a database that was damaged already when it was captured. Default: false. */
  readonly skipIntegrityCheck?: boolean;
  /** Run `integrity_check` in a process of its own, at low priority, instead of blocking this one for a second or two per gigabyte. Default: false. */
  readonly checksApart?: boolean;
  readonly onProgress?: (progress: RestoreProgress) => void;
  /** Called when everything is verified, right before the target is replaced. If it throws, the target stays. */
  readonly beforePublish?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

/** Bytes and files fetched so far. They start again from zero if a file vanishes or is found damaged. */
export interface RestoreProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly filesDone: number;
  readonly filesTotal: number;
}

export interface RestoreResult {
  readonly timeline: string;
  readonly txid: Txid;
  /** Of the newest file's header: the moment of its last commit. */
  readonly timestamp: Date;
  /** In bytes. */
  readonly pageSize: number;
  /** Size of the database in pages. */
  readonly pageCount: number;
  /** 16 hex digits. */
  readonly rollingChecksum: string;
  /** Whether the replica had a rolling checksum recorded there, and it was the same. Stock Litestream records none. */
  readonly isRollingChecksumProved: boolean;
  /** Fetched for the plan that succeeded. */
  readonly bytesRead: number;
  readonly files: DatabaseRestorePlan["files"];
  /** Files that were found damaged and that others made up for. Empty if all is well: otherwise the replica needs a look. */
  readonly damagedKeys: readonly string[];
  /** Checksum of every page: what a stream needs to go on from here without reading the database again. */
  readonly pageChecksums: PageChecksums;
}

/**
 * Restores a database: beside the target, verified, then renamed to it. Until then the target is untouched, whatever happens, and
 * a failure leaves nothing behind but, after a SIGKILL, the unfinished file, which the next restore of that target removes.
 *
 * Verified are: every file's checksum, the chain by the headers, that no page is missing, the rolling checksum if the replica has
 * one, and SQLite's `integrity_check`. A file that vanishes meanwhile leads to a new plan for the same TXID; so does a damaged one, if other
 * levels hold the same. Durability point: when it resolves, the database survives a power cut under its name.
 *
 * @throws {ReplicaError} with any code but `EPOCH_HELD`; errors of the store and the abort reason as they are.
 * @throws {ReplicationError} `HELPER_FAILED` if the thread that applies the files of a large database ended by itself.
 */
export async function restoreDatabase(options: RestoreOptions): Promise<RestoreResult> {
  const { root, path, signal } = options;
  const file = await RestoreFile.create(path, options.overwrite === true);
  try {
    const requests = signal === undefined ? {} : { signal };
    let plan = await readRestorePlan(root, options, requests);
    const damaged = new Map<string, ReplicaError>();
    for (let replans = 0; ; replans += 1) {
      signal?.throwIfAborted();
      try {
        const applied = await applyFiles(root.store, plan.files, file, options);
        await finish(file, options);
        const { timeline, txid, files } = plan;
        return { ...applied, timeline, txid, files, damagedKeys: [...damaged.keys()] };
      } catch (error) {
        const problem = toReplanProblem(error);
        if (problem === undefined) throw error;
        if (replans === replansMax) throw problem.error;
        if (problem.isDamage) damaged.set(problem.key, problem.error);
        const { timeline, txid } = plan;
        const same: LineageTarget = { timeline, txid };
        // A file that is gone may have been merged with later ones: then what was asked for is newer now.
        const canBeNewer = !problem.isDamage && options.txid === undefined;
        plan = await planAgain(problem, canBeNewer ? [same, options] : [same], (target) =>
          readRestorePlan(root, target, requests, new Set(damaged.keys())),
        );
      }
    }
  } finally {
    await file.discard();
  }
}

const replansMax = 3;

/** The first of the targets that can be planned now. @throws the problem if none can: it is the answer, not what is missing without the file. */
async function planAgain(
  problem: ReplanProblem,
  targets: readonly LineageTarget[],
  plan: (target: LineageTarget) => Promise<DatabaseRestorePlan>,
): Promise<DatabaseRestorePlan> {
  for (const target of targets) {
    try {
      return await plan(target);
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
    }
  }
  throw problem.error;
}

async function finish(file: RestoreFile, options: RestoreOptions): Promise<void> {
  // The disk writes while SQLite reads: neither changes the file.
  const synced = file.sync();
  try {
    if (options.skipIntegrityCheck !== true) await refuseBroken(file, options);
  } finally {
    await synced;
  }
  options.signal?.throwIfAborted();
  await file.publish(options.beforePublish);
}

async function refuseBroken(
  file: RestoreFile,
  { path, checksApart = false, signal = new AbortController().signal }: RestoreOptions,
): Promise<void> {
  const complaint = checksApart
    ? await checkIntegrityApart(file.temporaryPath, signal)
    : await checkIntegrity(file.temporaryPath);
  if (complaint === undefined) return;
  throw new ReplicaError(
    "VERIFICATION_FAILED",
    `integrity_check of the restored database: ${complaint}`,
    {
      path,
      hint: "Restore an earlier moment, or skip the integrity check if the database was known to be damaged.",
    },
  );
}

interface ReplanProblem {
  readonly key: string;
  readonly isDamage: boolean;
  readonly error: ReplicaError;
}

/** A file that is gone or damaged; undefined for everything that another plan cannot help. */
function toReplanProblem(error: unknown): ReplanProblem | undefined {
  if (error instanceof FileDamaged) {
    const { key, level, maxTxid, timeline } = error.file;
    const reason = `a file of the replica is damaged: ${(error.cause as Error).message}`;
    const hint =
      "Restore another moment that does not need it, and keep the replica as it is until you know what damaged it.";
    const details = { key, level, timeline, txid: maxTxid, hint, cause: error.cause };
    return { key, isDamage: true, error: new ReplicaError("VERIFICATION_FAILED", reason, details) };
  }
  if (isNotFound(error)) {
    const { key } = error as ObjectStoreError;
    const reason = `${JSON.stringify(key)} was listed and is not there, time and again`;
    const hint = "Something deletes files of this replica, or its store shows old listings.";
    return {
      key,
      isDamage: false,
      error: new ReplicaError("CHAIN_BROKEN", reason, { key, hint, cause: error }),
    };
  }
  return undefined;
}
