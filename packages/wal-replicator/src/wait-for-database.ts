import { statSync } from "node:fs";
import { ReplicationError } from "./errors.ts";
import type { ReplicateOptions } from "./replication.ts";
import { checkDatabase } from "./ship/check-database.ts";
import { notWal } from "./ship/connections.ts";
import { openConnection } from "./sqlite/connection.ts";

const lookAgainMs = 200;
/** How long an application that has just created its database may take to switch it to WAL mode. */
const walGraceMs = 10_000;

export interface WaitOptions {
  /** Wait for a database that is missing or still an empty file, instead of refusing it. */
  readonly wait: boolean;
  /** An application has just put the file there, and may not have switched it yet. One that was waited for, or was made a moment ago, is new as well. */
  readonly isNew: boolean;
  /** The wall clock that file times are of, in milliseconds since 1970. */
  readonly now: () => number;
  /** A monotonic clock, in milliseconds. */
  readonly nowMs: () => number;
  /** Returns early when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Resolves when there is a database in WAL mode at the path, after its conversion if that was asked for.
 *
 * @throws {ReplicationError} `DATABASE_NOT_WAL` at once for a database that was there before, and after 10 s for a new one; and
 *   as `checkDatabase` does. The reason of `database.signal` passes unwrapped.
 */
export async function waitForDatabase(
  database: Pick<ReplicateOptions, "database" | "convertToWal" | "Database" | "signal">,
  { wait, isNew, now, nowMs, sleep }: WaitOptions,
): Promise<void> {
  const { database: path, convertToWal = false, signal = new AbortController().signal } = database;
  let isBeingCreated = isNew;
  let rollbackSinceMs: number | undefined;
  for (;;) {
    signal.throwIfAborted();
    if (wait && isDatabaseAwaited(path, convertToWal)) {
      isBeingCreated = true;
      rollbackSinceMs = undefined;
    } else {
      const mode = look(path, wait);
      if (mode === "wal") return;
      if (mode === "rollback") {
        if (convertToWal) return convert(path, database.Database);
        rollbackSinceMs ??= nowMs();
        // Somebody saw it missing and started us: it may appear between that look and our first.
        isBeingCreated ||= wait && wasMadeSince(path, now() - walGraceMs);
        if (!isBeingCreated || nowMs() - rollbackSinceMs >= walGraceMs) throw notWal(path);
      }
    }
    await sleep(lookAgainMs, signal);
  }
}

/**
 * Whether the application has yet to create its database. SQLite makes an empty file when it opens a database, and fills it
 * with the first write; where a conversion is asked for, that is a database already.
 */
export function isDatabaseAwaited(path: string, convertToWal: boolean): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined || (!convertToWal && stats.isFile() && stats.size === 0);
}

/** @returns `missing` if it vanished between two looks and may. */
function look(path: string, mayBeMissing: boolean): "wal" | "rollback" | "missing" {
  try {
    return checkDatabase(path);
  } catch (error) {
    const isMissing = error instanceof ReplicationError && error.code === "DATABASE_MISSING";
    if (!isMissing || !mayBeMissing) throw error;
    return "missing";
  }
}

/** Where the file system keeps no time of birth, it is 0: made long ago. */
function wasMadeSince(path: string, timeMs: number): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.birthtimeMs ?? 0) >= timeMs;
}

function convert(path: string, Database: ReplicateOptions["Database"]): void {
  const connection = openConnection(path, {
    busyTimeoutMs: 5_000,
    ...(Database === undefined ? {} : { Database }),
  });
  try {
    if (!connection.convertToWal()) throw notWal(path);
  } finally {
    connection.close();
  }
}
