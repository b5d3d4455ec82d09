import { statSync } from "node:fs";
import { resolve } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { invariant, ReplicationError } from "../errors.ts";

/**
 * A connection to the application's database: the only file that opens one. (`file-lock.ts` opens a file of our own.)
 *
 * - It never writes a page of the application's and never creates a file. `query_only` holds except for the instants in which
 *   the write lock is taken or the journal mode is switched, which it would forbid; checkpoints it allows (measured).
 * - It never checkpoints by itself: `wal_autocheckpoint` is 0. (The last connection to close checkpoints all the same.)
 * - Failures of SQLite pass as they are, with SQLite's code in `code`: `SQLITE_BUSY` after the busy timeout, `SQLITE_NOTADB`, …
 */
export class SqliteConnection implements Disposable {
  readonly #database: HostDatabase;
  readonly #isReadonly: boolean;
  readonly #begin: HostStatement;
  readonly #beginImmediate: HostStatement;
  readonly #read: HostStatement;
  readonly #rollback: HostStatement;
  readonly #checkpoints: { readonly [mode in CheckpointMode]: HostStatement };

  /** Use `openConnection`. The connection takes the database over. */
  constructor(database: HostDatabase, isReadonly: boolean) {
    this.#database = database;
    this.#isReadonly = isReadonly;
    this.#begin = database.prepare("BEGIN");
    this.#beginImmediate = database.prepare("BEGIN IMMEDIATE");
    this.#read = database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1");
    this.#rollback = database.prepare("ROLLBACK");
    this.#checkpoints = {
      NOOP: database.prepare("PRAGMA wal_checkpoint(NOOP)"),
      PASSIVE: database.prepare("PRAGMA wal_checkpoint(PASSIVE)"),
      TRUNCATE: database.prepare("PRAGMA wal_checkpoint(TRUNCATE)"),
    };
  }

  /** Begins a read transaction and takes its snapshot: BEGIN alone takes none, so one read follows. */
  beginRead(): void {
    this.#begin.run();
    try {
      this.#read.get();
    } catch (error) {
      this.endTransaction();
      throw error;
    }
  }

  /**
   * Takes the write lock, waiting for it as long as the busy timeout.
   *
   * @returns false if another connection kept it.
   */
  tryBeginImmediate(): boolean {
    // On a read-only connection, BEGIN IMMEDIATE succeeds and locks nothing.
    invariant(!this.#isReadonly, "a read-only connection cannot take the write lock");
    try {
      this.#withoutQueryOnly(() => this.#beginImmediate.run());
      return true;
    } catch (error) {
      if (isBusy(error)) return false;
      throw error;
    }
  }

  /** Ends the transaction, if there is one, and with it every lock. Nothing was written in it. */
  endTransaction(): void {
    if (this.#database.inTransaction) this.#rollback.run();
  }

  /**
   * Runs a checkpoint; `NOOP` only tells what a checkpoint would find. This connection must not be in a transaction
   * (`SQLITE_LOCKED`).
   *
   * Durability point: the moved pages are synced before it returns, and the WAL before them.
   */
  checkpoint(mode: CheckpointMode): CheckpointResult {
    invariant(mode === "NOOP" || !this.#isReadonly, "a read-only connection cannot checkpoint");
    const row = this.#checkpoints[mode].get() as {
      busy: number;
      log: number;
      checkpointed: number;
    };
    return {
      isBusy: row.busy !== 0,
      logFrames: row.log,
      checkpointedFrames: row.checkpointed,
    };
  }

  journalMode(): string {
    return this.#pragma("journal_mode") as string;
  }

  /** In bytes. */
  pageSize(): number {
    // Before the first read, SQLite may answer with its default: the size may be in the WAL alone.
    this.#read.get();
    return this.#pragma("page_size") as number;
  }

  /** Size of the database in pages, as of the transaction if there is one. */
  pageCount(): number {
    return this.#pragma("page_count") as number;
  }

  sqliteVersion(): string {
    return readVersion(this.#database);
  }

  /**
   * Switches a rollback-journal database to WAL mode, which writes its header: the one change that an operator can ask for.
   *
   * @returns whether the database is in WAL mode now. A database in use by others throws `SQLITE_BUSY`.
   */
  convertToWal(): boolean {
    return this.#withoutQueryOnly(() => this.#pragma("journal_mode = WAL")) === "wal";
  }

  /** Idempotent. The last connection of all to close checkpoints and removes the WAL. */
  close(): void {
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #pragma(source: string): unknown {
    return this.#database.pragma(source, { simple: true });
  }

  #withoutQueryOnly<T>(work: () => T): T {
    this.#pragma("query_only = 0");
    try {
      return work();
    } finally {
      this.#pragma("query_only = 1");
    }
  }
}

export type CheckpointMode = "NOOP" | "PASSIVE" | "TRUNCATE";

export interface CheckpointResult {
  /** Somebody's lock kept it from its goal. Never with `NOOP`; with `PASSIVE` only if another checkpoint runs. */
  readonly isBusy: boolean;
  /** Frames in the WAL that are committed by the wal-index; −1 if the database is not in WAL mode. */
  readonly logFrames: number;
  /** How many of them are in the database file; −1 if the database is not in WAL mode. */
  readonly checkpointedFrames: number;
}

/** As much of better-sqlite3's `Database` as is used here. */
export interface HostDatabase {
  readonly inTransaction: boolean;
  prepare(source: string): HostStatement;
  pragma(source: string, options: { simple: boolean }): unknown;
  close(): unknown;
}

export interface HostStatement {
  run(): unknown;
  get(): unknown;
}

/** The class that better-sqlite3 exports. */
export type DatabaseClass = new (
  path: string,
  options: { readonly: boolean; fileMustExist: boolean; timeout: number },
) => HostDatabase;

export interface ConnectionOptions {
  /** Opens the file read-only: for reading and `NOOP` alone. Default false. */
  readonly readonly?: boolean;
  /** How long a call waits for a lock before it gives up, in milliseconds. The whole process stands still meanwhile. */
  readonly busyTimeoutMs: number;
  /** The host's own class: two copies of SQLite in one process do not see each other's locks. Default: our better-sqlite3. */
  readonly Database?: DatabaseClass;
}

/**
 * Opens a connection to a database that exists.
 *
 * @throws {ReplicationError} `DATABASE_MISSING`. @throws an error with code `SQLITE_TOO_OLD`, or with one of SQLite's.
 */
export function openConnection(path: string, options: ConnectionOptions): SqliteConnection {
  const Database: DatabaseClass = options.Database ?? BetterSqlite3;
  const isReadonly = options.readonly ?? false;
  // An absolute path is never taken for a URI or for ":memory:".
  const absolutePath = resolve(path);
  if (statSync(absolutePath, { throwIfNoEntry: false }) === undefined) {
    throw new ReplicationError(
      "DATABASE_MISSING",
      `there is no database at ${absolutePath}`,
      "Check the path, or let the application create it first: the replicator never creates a database.",
    );
  }
  const database = new Database(absolutePath, {
    readonly: isReadonly,
    // Also if the file goes away right now.
    fileMustExist: true,
    timeout: options.busyTimeoutMs,
  });
  try {
    assertSqliteVersion(readVersion(database));
    for (const setting of settings) database.pragma(setting, { simple: true });
    return new SqliteConnection(database, isReadonly);
  } catch (error) {
    database.close();
    throw error;
  }
}

const settings = [
  "query_only = 1",
  "wal_autocheckpoint = 0",
  // Our checkpoints sync, whatever default the host's SQLite was built with.
  "synchronous = NORMAL",
  // Pages are read through the file, hardly ever through this connection. In pages.
  "cache_size = 10",
];

/** The oldest SQLite that does not have the WAL-reset bug. */
const versionMin = [3, 51, 3] as const;

/**
 * Refuses a SQLite with the WAL-reset bug: before 3.51.3, a connection that checkpoints while another one restarts the WAL can
 * leave newer frames out of the database file for good, and the database corrupt. Before 3.51 there is no NOOP either, and a
 * checkpoint with an unknown mode runs as PASSIVE.
 *
 * @param version - as `sqlite_version()` gives it. @throws an error with code `SQLITE_TOO_OLD`.
 */
export function assertSqliteVersion(version: string): void {
  const parts = version.split(".").map(Number);
  for (const [index, least] of versionMin.entries()) {
    const part = parts[index] ?? 0;
    if (part > least) return;
    if (!(part === least)) {
      throw new ReplicationError(
        "SQLITE_TOO_OLD",
        `SQLite ${version} can corrupt a database when the WAL is restarted during a checkpoint (the WAL-reset bug, fixed in 3.51.3)`,
        "Update better-sqlite3 to 13 or newer, or pass in a Database class that is built with SQLite 3.51.3 or newer.",
      );
    }
  }
}

function readVersion(database: HostDatabase): string {
  return (database.prepare("SELECT sqlite_version() AS version").get() as { version: string })
    .version;
}

function isBusy(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" && code.startsWith("SQLITE_BUSY");
}
