import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import Database from "better-sqlite3";

/** Every row of every table, and the digest of every file, by its path, as text that compares. */
export interface Photograph {
  readonly rows: Readonly<Record<string, readonly string[]>>;
  readonly files: Readonly<Record<string, string>>;
}

/** What of a vault is more than its database. */
const kept = ["attachments", "sends", "rsa_key.pem", "config.json"];

/**
 * Reads a vault: its database from a copy, so that neither its locks nor its `-wal` are touched. Nobody may write meanwhile.
 *
 * @param scratch - a directory for the copy, which is removed again.
 */
export function photograph(vault: string, scratch: string): Photograph {
  return { rows: readRows(vault, scratch), files: readDigests(vault) };
}

function readDigests(vault: string): Record<string, string> {
  const files = readdirSync(vault, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(vault, join(entry.parentPath, entry.name)))
    .filter((path) => kept.includes(path.split("/", 1)[0] ?? ""));
  return Object.fromEntries(
    files.sort().map((path) => [
      path,
      createHash("sha256")
        .update(readFileSync(join(vault, path)))
        .digest("hex"),
    ]),
  );
}

function readRows(vault: string, scratch: string): Photograph["rows"] {
  const directory = mkdtempSync(join(scratch, "photograph-"));
  const copy = join(directory, "db.sqlite3");
  for (const suffix of ["", "-wal"]) {
    const path = join(vault, `db.sqlite3${suffix}`);
    if (existsSync(path)) copyFileSync(path, `${copy}${suffix}`);
  }
  const database = new Database(copy);
  try {
    const tables = database
      .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
      .pluck()
      .all();
    return Object.fromEntries(
      tables.map((name) => [
        name,
        database
          .prepare(`SELECT * FROM "${name}"`)
          .all()
          .map((row) => JSON.stringify(row))
          .sort(),
      ]),
    );
  } finally {
    database.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @returns the first difference in words, or undefined if there is none. */
export function describeDifference(a: Photograph, b: Photograph): string | undefined {
  for (const table of keysOf(a.rows, b.rows)) {
    const [left, right] = [a.rows[table], b.rows[table]];
    if (left === undefined || right === undefined) return `table ${table} is only on one side`;
    const missing = left.filter((row) => !right.includes(row)).length;
    const added = right.filter((row) => !left.includes(row)).length;
    if (missing + added > 0 || left.length !== right.length) {
      return `table ${table} lacks ${missing} rows and has ${added} others`;
    }
  }
  for (const path of keysOf(a.files, b.files)) {
    if (b.files[path] === undefined) return `${path} is missing`;
    if (a.files[path] === undefined) return `${path} is there, and was not`;
    if (a.files[path] !== b.files[path]) return `${path} has other bytes`;
  }
  return undefined;
}

function keysOf(a: object, b: object): Set<string> {
  return new Set([...Object.keys(a), ...Object.keys(b)]);
}
