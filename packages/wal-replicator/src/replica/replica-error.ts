import type { Txid } from "../ltx/txid.ts";

/**
 * What is wrong with a replica, or with what was asked of it. None is retryable: the same call gives the same answer until somebody
 * changes the replica, the target, or the question. Errors of the store itself pass unwrapped (`ObjectStoreError`).
 */
export type ReplicaErrorCode =
  /** There is no recovery point at all: a wrong URL or prefix, or nothing was ever stored. Look at the location; never start empty because of it. */
  | "NOTHING_TO_RESTORE"
  /** What is there was written by Litestream before v0.5. Restore it with that. Never start empty because of it. */
  | "REPLICA_UNSUPPORTED"
  /** No files end at this TXID: it is inside a merged file, or older or newer than the replica. Ask for a TXID that `list` shows. */
  | "TXID_NOT_REACHABLE"
  /** Nothing was stored before this time, or what was is not kept any more. Ask for a later time. */
  | "TIME_NOT_REACHABLE"
  /** Files are missing in the middle, or do not continue each other. Something deleted them. Restore up to the gap by TXID. */
  | "CHAIN_BROKEN"
  /** The replica has no timeline of this name. `list` shows the names. */
  | "TIMELINE_UNKNOWN"
  /** There is a file where the database should go. Move it away, or ask for an overwrite. */
  | "TARGET_EXISTS"
  /** The restored file cannot be written, for lack of room or permission, or somebody removed it meanwhile. */
  | "TARGET_UNWRITABLE"
  /** What was read is not what was written: a file's checksum, the database's rolling checksum, or `integrity_check`. The target was not touched. */
  | "VERIFICATION_FAILED"
  /** An object of ours that is not what we write there: damaged, of a later version, or somebody else's. Look at it before deleting it. */
  | "REPLICA_MALFORMED"
  /** Others take epochs faster than we can. Stop the other writers of this replica. */
  | "EPOCH_HELD";

export interface ReplicaErrorDetails {
  /** What an operator can do about it, one sentence. */
  readonly hint: string;
  /** Key of the object concerned. */
  readonly key?: string | undefined;
  readonly timeline?: string | undefined;
  readonly level?: number | undefined;
  /** Where the chain ends, or what was asked for. */
  readonly txid?: Txid | undefined;
  /** Path of the local file concerned. */
  readonly path?: string | undefined;
  readonly cause?: unknown;
}

export class ReplicaError extends Error {
  override readonly name = "ReplicaError";
  readonly code: ReplicaErrorCode;
  readonly retryable = false;
  readonly hint: string;
  readonly key: string | undefined;
  readonly timeline: string | undefined;
  readonly level: number | undefined;
  readonly txid: Txid | undefined;
  readonly path: string | undefined;

  constructor(code: ReplicaErrorCode, reason: string, details: ReplicaErrorDetails) {
    super(reason, { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.key = details.key;
    this.timeline = details.timeline;
    this.level = details.level;
    this.txid = details.txid;
    this.path = details.path;
  }
}
