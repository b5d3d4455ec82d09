import { rm } from "node:fs/promises";
import BetterSqlite3 from "better-sqlite3";
import { ReplicationError } from "../errors.ts";
import { checkSource } from "../watch/check-source.ts";

/** What SQLite says of a database file: `undefined` if all is well, else its first complaints. */
export type IntegrityComplaint = string | undefined;

/**
 * As `checkIntegrity`, in a process of its own and at low priority: for a host that other work must not wait in.
 *
 * @throws {ReplicationError} `HELPER_FAILED` if it could not look. @throws the signal's reason.
 */
export async function checkIntegrityApart(
  path: string,
  signal: AbortSignal,
): Promise<IntegrityComplaint> {
  try {
    return await checkSource(path, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw couldNotLook(error as Error);
  } finally {
    await removeCompanions(path);
  }
}

function couldNotLook(cause: Error): ReplicationError {
  const reason = `the process that runs integrity_check could not look: ${cause.message}`;
  const hint = "Nothing was found out. If memory is short, give the machine more of it.";
  return new ReplicationError("HELPER_FAILED", reason, hint, { cause });
}

/**
 * Runs `PRAGMA integrity_check` over a database file that nobody else has open, and leaves no file behind. Blocks the process
 * while it runs, a second or two per gigabyte.
 *
 * It opens the file itself and not through `connection.ts`: that one is for databases of the application, with settings that
 * would make this check slow; here no lock of anybody can be lost, since the file is private to the restore.
 */
export async function checkIntegrity(path: string): Promise<IntegrityComplaint> {
  try {
    const database = new BetterSqlite3(path, { readonly: true, fileMustExist: true });
    try {
      database.pragma("cache_size = -16000");
      const rows = database.pragma("integrity_check(10)") as { readonly integrity_check: string }[];
      const lines = rows.map((row) => row.integrity_check);
      return lines.length === 1 && lines[0] === "ok" ? undefined : lines.join("; ");
    } finally {
      database.close();
    }
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string };
    // These are about what is in the file, which SQLite cannot even begin to read; all others are about reaching it.
    if (!/^SQLITE_(CORRUPT|NOTADB|ERROR)/.test(String(code))) throw error;
    return message;
  } finally {
    await removeCompanions(path);
  }
}

/** A read-only connection makes them for a WAL-mode database, and leaves them behind. */
async function removeCompanions(path: string): Promise<void> {
  for (const suffix of ["-wal", "-shm"]) await rm(`${path}${suffix}`, { force: true });
}
