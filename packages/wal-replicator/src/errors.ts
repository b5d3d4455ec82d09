/**
 * Errors of the engine. The union of codes is the manual: what it means, what usually causes it, what to do.
 * Subclasses are split by what the caller does next. Abort reasons and errors of the store pass unwrapped.
 */

/** Bytes that are not what they claim to be. They are data from outside: never a bug of the caller, never to be trusted further. */
export type FormatErrorCode =
  /** An LTX file that ends too early, or does not begin with its magic. A cut upload or download. Read it again; else restore without it. */
  | "LTX_TRUNCATED"
  /** The header has a value that the format forbids. Damaged, or written by something else. */
  | "LTX_BAD_HEADER"
  /** A page frame with bad flags, number, order or size, or one that does not decompress to a page. Damaged. */
  | "LTX_BAD_PAGE"
  /** The page index or its length does not fit the frames. Damaged. */
  | "LTX_BAD_INDEX"
  /** The trailer is malformed, or bytes follow it. Damaged. */
  | "LTX_BAD_TRAILER"
  /** All parts parse, but the file's checksum does not match: a flipped bit. Read it again; else restore without it. */
  | "LTX_CHECKSUM_MISMATCH"
  /** Files that do not form a chain: a gap, another page size, a page that none of them holds. */
  | "LTX_CHAIN_BROKEN"
  /** Not a WAL: its magic is neither of SQLite's two. */
  | "WAL_BAD_MAGIC"
  /** A WAL of a version other than 3007000. */
  | "WAL_UNSUPPORTED_VERSION"
  /** A page size that is no power of two from 512 to 65536. */
  | "WAL_BAD_PAGE_SIZE"
  /** A file that is no SQLite database. */
  | "DATABASE_BAD_HEADER";

export class FormatError extends Error {
  override readonly name = "FormatError";
  readonly code: FormatErrorCode;
  /** Reading the same bytes again gives the same error; fetching them again may not. */
  readonly retryable = false;
  /** Where in the file, in bytes from its start, if known. */
  readonly offset: number | undefined;

  constructor(
    code: FormatErrorCode,
    reason: string,
    details: { offset?: number; cause?: unknown } = {},
  ) {
    super(details.offset === undefined ? reason : `${reason} (at byte ${details.offset})`, {
      cause: details.cause,
    });
    this.code = code;
    this.offset = details.offset;
  }
}

/** Something that this code promised itself did not hold. Nobody catches it below `main`. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** Why a stream cannot start or go on. All need somebody: the same call fails again until something is changed. */
export type ReplicationErrorCode =
  /** There is no database at the path. It is never created for the application. */
  | "DATABASE_MISSING"
  /** The database is in rollback-journal mode: there is no WAL to stream. */
  | "DATABASE_NOT_WAL"
  /** NFS, SMB or 9p: locks and shared memory of a WAL do not work there, and the database would be damaged sooner or later. */
  | "DATABASE_ON_NETWORK"
  /** Somebody holds the database exclusively (`locking_mode=EXCLUSIVE`, or a long transaction at the start). */
  | "DATABASE_LOCKED"
  /** Streaming needs Linux. Restoring does not. */
  | "PLATFORM_UNSUPPORTED"
  /** The SQLite in use has the WAL-reset bug (before 3.51.3), which can corrupt the database that is replicated. */
  | "SQLITE_TOO_OLD"
  /** The spool beside the database cannot be created: a read-only directory. */
  | "SPOOL_UNWRITABLE"
  /**
   * The disk of the spool is full, or its quota is used up. A running stream goes on by itself once there is room: until then nothing is
   * captured, and the WAL grows. Free some space.
   */
  | "SPOOL_FULL"
  /** Another process replicates this database from the same spool. */
  | "SPOOL_IN_USE"
  /** The store has what the local database lacks: an old copy, or a power cut took the end of the WAL. Restore, then start again. */
  | "LOCAL_BEHIND"
  /**
   * The database here and the store both have what the other lacks. What is here is in the store too by now, on a timeline of its own.
   * Decide which one goes on.
   */
  | "LOCAL_DIVERGED"
  /** A start that would lose something, or that cannot tell: the message names what was found. Nothing was written. */
  | "START_REFUSED"
  /** Another owner's lease is alive, and we were asked not to wait for it. */
  | "HELD"
  /** Somebody else has taken over. What was captured here since is stored on a timeline of its own. Stop this application for good, or decide again who goes on. */
  | "FENCED"
  /** An object of another writer lies under our TXID. Nothing was overwritten. */
  | "FOREIGN_WRITE"
  /** The WAL never stood still long enough for one look at it; not known to happen. */
  | "CAPTURE_UNSTABLE"
  /** The stream was ended, so nothing further will be stored. */
  | "STOPPED"
  /** Another process follows into this copy. Stop it first, or choose another file. */
  | "COPY_IN_USE"
  /**
   * What lies where a copy is followed is not what was left there: somebody else wrote into it, or it is no copy of ours. It was not touched.
   * Move it away, or have it overwritten.
   */
  | "COPY_CHANGED"
  /** Two options contradict each other. Leave one of them out. */
  | "OPTIONS_CONFLICT"
  /** The helper process cannot be started, or keeps ending; or the thread of a restore ended. Out of memory, most likely. */
  | "HELPER_FAILED";

export class ReplicationError extends Error {
  override readonly name = "ReplicationError";
  readonly code: ReplicationErrorCode;
  readonly retryable = false;
  /** What an operator can do about it. */
  readonly hint: string;

  constructor(
    code: ReplicationErrorCode,
    reason: string,
    hint: string,
    details: { cause?: unknown } = {},
  ) {
    super(reason, { cause: details.cause });
    this.code = code;
    this.hint = hint;
  }
}
