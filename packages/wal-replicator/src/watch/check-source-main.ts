/**
 * Looks through an application's database for damage, as a process of its own: it takes seconds per gigabyte, and whatever it does to its
 * descriptors touches no lock of the replicator. It reads under one transaction and can write nothing.
 *
 * The last argument is the database. It answers with one line of JSON: `{complaint}`, null if all is well, or `{failure}` if it could not look.
 */
import { setPriority } from "node:os";
import BetterSqlite3 from "better-sqlite3";

const busyTimeoutMs = 30_000;

function check(path: string): { complaint: string | null } | { failure: string } {
  try {
    // Whoever serves people goes first.
    setPriority(19);
    const database = new BetterSqlite3(path, {
      readonly: true,
      fileMustExist: true,
      timeout: busyTimeoutMs,
    });
    try {
      const rows = database.pragma("integrity_check(10)") as { readonly integrity_check: string }[];
      const lines = rows.map((row) => row.integrity_check);
      return { complaint: lines.length === 1 && lines[0] === "ok" ? null : lines.join("; ") };
    } finally {
      database.close();
    }
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string };
    // These are about what is in the file; all others are about reaching it.
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(String(code))) return { complaint: message };
    return { failure: message };
  }
}

process.stdout.write(`${JSON.stringify(check(process.argv.at(-1) ?? ""))}\n`);
