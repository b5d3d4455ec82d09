import { statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { FileSyncError } from "@vaultwarden-stream/file-sync";
import {
  type ObjectStore,
  ObjectStoreError,
  type StoreLocation,
} from "@vaultwarden-stream/object-store";
import {
  type ConfirmedPosition,
  formatTxid,
  listReplica,
  parseTxid,
  ReplicaError,
  ReplicationError,
  type RestoreResult,
  restore,
  type VerifyProblem,
  verifyReplica,
} from "wal-replicator";
import { timelinesUnder } from "../daemon/vault-store.ts";
import { lineageOf } from "../restore/lineage.ts";
import { type DrillFilesOptions, drillFiles } from "./drill-files.ts";
import type { Proof, ProvenFiles } from "./proof.ts";
import { type ProofHistory, readProofs, writeProof } from "./proof-store.ts";
import { NoRoom, Scratch } from "./scratch.ts";

export interface DrillOptions {
  readonly location: StoreLocation;
  /** The same, behind retries. */
  readonly store: ObjectStore;
  readonly include: DrillFilesOptions["include"];
  /** Where the scratch directory is made: on a disk that has room for a second vault. */
  readonly scratchParent: string;
  /** The living database, if there is one here: how much room a restored one takes. It is not opened. */
  readonly liveDatabase: string;
  /** What somebody here has heard to be stored. */
  readonly confirmed: readonly ConfirmedPosition[];
  /** Version of this program, for the record. */
  readonly engine: string;
  /** Of files restored in one drill. Default 256 MiB. */
  readonly fileBytesMax?: number;
  /** Left free on the scratch's disk. Default 64 MiB. */
  readonly reserveBytes?: number;
  readonly onProgress?: (phase: string, bytesDone: number, bytesTotal: number) => void;
  readonly signal: AbortSignal;
}

export interface DrillResult {
  readonly proof: Proof;
  /** Of the proof in the store; null: it could not be written. */
  readonly key: string | null;
  /** Why it was inconclusive, or not written. */
  readonly cause: unknown;
}

const fileBytesMaxDefault = 256 * 1024 * 1024;
const reserveBytesDefault = 64 * 1024 * 1024;
/** How often the room on the disk is looked at. */
const roomIntervalMs = 1_000;

/**
 * A restore drill (architecture.md D9): the newest recovery point is restored beside the live data, the database whole and a part of the files, and
 * compared with what the store says of it. The result is stored as a proof, whatever it is, as far as the store answers.
 *
 * Nothing of the live vault is opened or changed. What was restored is removed in any case.
 *
 * @throws {ReplicaError} `NOTHING_TO_RESTORE` if nothing was ever stored; the signal's reason; what is a mistake of ours. Then there is no proof.
 */
export async function drill(options: DrillOptions): Promise<DrillResult> {
  const { store, signal } = options;
  const run = new DrillRun(options);
  let cause: unknown;
  try {
    await run.restoreAll();
  } catch (error) {
    signal.throwIfAborted();
    run.note(error);
    cause = error;
  }
  const proof = run.proof();
  try {
    return { proof, key: await writeProof(store, proof, run.history, { signal }), cause };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ObjectStoreError)) throw error;
    return { proof, key: null, cause: cause ?? error };
  }
}

class DrillRun {
  readonly #options: DrillOptions;
  readonly #startedAt = new Date();
  readonly #bad: string[] = [];
  #unclear: string | undefined;
  #restored: (RestoreResult & { readonly durationMs: number }) | undefined;
  #files: ProvenFiles | undefined;
  history: ProofHistory = { keys: [], newest: undefined, lastProved: undefined };

  constructor(options: DrillOptions) {
    this.#options = options;
  }

  async restoreAll(): Promise<void> {
    const { reserveBytes = reserveBytesDefault, scratchParent, store, signal } = this.#options;
    this.history = await readProofs(store, { signal });
    await using scratch = await Scratch.open(scratchParent, reserveBytes);
    const full = new AbortController();
    const timer = setInterval(() => {
      scratch.require(0, "what was restored so far").catch((error) => full.abort(error));
    }, roomIntervalMs);
    try {
      await this.#restoreInto(scratch, AbortSignal.any([signal, full.signal]));
    } finally {
      clearInterval(timer);
    }
  }

  async #restoreInto(scratch: Scratch, signal: AbortSignal): Promise<void> {
    const { location, onProgress } = this.#options;
    const where = { replica: location, timelinesUnder, signal };
    const seen = await verifyReplica({ ...where, isQuick: true, confirmed: this.#confirmed() });
    this.#bad.push(...seen.problems.filter(breaksNewest(seen.head)).map(({ message }) => message));

    await scratch.require(this.#databaseBytes(), "a second copy of the database");
    const beganMs = performance.now();
    const target = join(scratch.directory, "db.sqlite3");
    const restored = await restore({
      ...where,
      target,
      checksApart: true,
      onProgress: ({ bytesDone, bytesTotal }) => onProgress?.("database", bytesDone, bytesTotal),
    });
    this.#restored = { ...restored, durationMs: Math.round(performance.now() - beganMs) };
    this.#bad.push(
      ...restored.damagedKeys.map((key) => `${key} is damaged; others made up for it`),
    );

    const listing = await listReplica(where);
    const { files, bad } = await drillFiles({
      ...this.#options,
      lineage: lineageOf(listing, restored.timeline),
      database: target,
      scratch,
      bytesMax: this.#options.fileBytesMax ?? fileBytesMaxDefault,
      after: this.history.lastProved?.proof.files?.comparedUpTo ?? null,
      onProgress: (bytesDone, bytesTotal) => onProgress?.("files", bytesDone, bytesTotal),
      signal,
    });
    this.#files = files;
    this.#bad.push(...bad);
  }

  /** Takes what has ended it: the store's content, or what keeps us from looking at it. @throws what is neither. */
  note(error: unknown): void {
    const { message, cause } = error as Error;
    if (isBadContent(error) || this.#isGone(error)) this.#bad.push(message);
    else if (isObstacle(error)) {
      this.#unclear = cause instanceof Error ? `${message}: ${cause.message}` : message;
    } else throw error;
  }

  /** Nothing to restore, where there was something. */
  #isGone(error: unknown): boolean {
    if (!(error instanceof ReplicaError) || error.code !== "NOTHING_TO_RESTORE") return false;
    return this.#bad.length > 0 || this.#confirmed().length > 0;
  }

  proof(): Proof {
    const restored = this.#restored;
    const reasons = [...this.#bad, ...(this.#unclear === undefined ? [] : [this.#unclear])];
    return {
      version: 1,
      outcome: this.#outcome(),
      reasons,
      startedAt: this.#startedAt.toISOString(),
      endedAt: new Date().toISOString(),
      host: hostname(),
      engine: this.#options.engine,
      timeline: restored?.timeline ?? null,
      txid: restored === undefined ? null : formatTxid(restored.txid),
      at: restored?.timestamp.toISOString() ?? null,
      database: restored === undefined ? null : describeDatabase(restored),
      files: this.#files ?? null,
      previous: this.history.newest?.key ?? null,
    };
  }

  #outcome(): Proof["outcome"] {
    if (this.#bad.length > 0) return "failed";
    const isComplete = this.#restored !== undefined && this.#files !== undefined;
    return isComplete && this.#unclear === undefined ? "proved" : "inconclusive";
  }

  /** What was proved once is there still, or the next drill would prove an older state in silence. */
  #confirmed(): ConfirmedPosition[] {
    const { timeline, txid } = this.history.lastProved?.proof ?? {};
    const proved = typeof txid === "string" ? parseTxid(txid) : undefined;
    const { confirmed } = this.#options;
    return typeof timeline === "string" && proved !== undefined
      ? [...confirmed, { timeline, txid: proved }]
      : [...confirmed];
  }

  #databaseBytes(): number {
    const live = statSync(this.#options.liveDatabase, { throwIfNoEntry: false })?.size ?? 0;
    return Math.max(live, this.history.lastProved?.proof.database?.bytes ?? 0);
  }
}

/**
 * Whether the newest recovery point is lost with it: the end of the head's line, or a timeline that is newer than the head, and which a restore
 * would pass over.
 */
function breaksNewest(head: string | null): (problem: VerifyProblem) => boolean {
  return ({ costs }) =>
    costs.some(({ timeline, to }) => to === null && (head === null || timeline >= head));
}

function describeDatabase(
  restored: RestoreResult & { readonly durationMs: number },
): Proof["database"] {
  const { pageCount, pageSize, bytesRead, rollingChecksum, isRollingChecksumProved, durationMs } =
    restored;
  return {
    bytes: pageCount * pageSize,
    fetchedBytes: bytesRead,
    rollingChecksum,
    isRollingChecksumProved,
    damaged: restored.damagedKeys,
    durationMs,
  };
}

/** What was read is not what was written, or is not there. */
function isBadContent(error: unknown): boolean {
  if (error instanceof ReplicaError) {
    return ["VERIFICATION_FAILED", "CHAIN_BROKEN", "REPLICA_MALFORMED"].includes(error.code);
  }
  if (error instanceof FileSyncError) return error.code !== "ROOT_UNUSABLE";
  if (error instanceof ObjectStoreError) return error.code === "NOT_FOUND";
  return /^SQLITE_(CORRUPT|NOTADB|ERROR)/.test(codeOf(error));
}

/** The store does not answer, or this machine has no room, no right, no memory for it. */
function isObstacle(error: unknown): boolean {
  if (error instanceof NoRoom || error instanceof ObjectStoreError) return true;
  if (error instanceof ReplicaError) return error.code === "TARGET_UNWRITABLE";
  if (error instanceof FileSyncError) return error.code === "ROOT_UNUSABLE";
  if (error instanceof ReplicationError) return error.code === "HELPER_FAILED";
  return (error as NodeJS.ErrnoException).syscall !== undefined || codeOf(error) === "SQLITE_FULL";
}

function codeOf(error: unknown): string {
  return String(Object(error)["code"]);
}
