import BetterSqlite3 from "better-sqlite3";
import { ReplicationError } from "../errors.ts";

/**
 * An exclusive lock on a file of our own. Node has no `flock`, so the file is an (empty) SQLite database with an open exclusive
 * transaction: the kernel drops the lock when the process dies, however it dies.
 */
export interface FileLock {
  /** Idempotent. */
  release(): void;
}

/** Locks the file at `path`, which is created if missing. @throws {ReplicationError} `SPOOL_IN_USE` if another holds it. */
export function lockFile(path: string): FileLock {
  const database = new BetterSqlite3(path, { timeout: 0 });
  try {
    database.pragma("journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!String((error as { code?: unknown }).code).startsWith("SQLITE_BUSY")) throw error;
    // biome-ignore lint/style/useErrorCause: the cause is in the details.
    throw new ReplicationError(
      "SPOOL_IN_USE",
      `another process holds ${path}: it already streams this database`,
      "Stop the other replicator of this database first.",
      { cause: error },
    );
  }
  return { release: () => database.close() };
}
