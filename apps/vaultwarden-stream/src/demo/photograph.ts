import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";

/** Every row of every table, as text that compares. */
export type DatabaseRows = Readonly<Record<string, readonly string[]>>;

/**
 * Reads a vault's database from a copy of its files, so that neither its locks nor its `-wal` are touched. Nobody may write meanwhile.
 *
 * @param scratch - a directory for the copy, which is removed again.
 */
export function photograph(vault: string, scratch: string): DatabaseRows {
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
export function describeDifference(a: DatabaseRows, b: DatabaseRows): string | undefined {
  for (const table of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const [left, right] = [a[table], b[table]];
    if (left === undefined || right === undefined) return `table ${table} is only on one side`;
    const missing = left.filter((row) => !right.includes(row)).length;
    const added = right.filter((row) => !left.includes(row)).length;
    if (missing + added > 0 || left.length !== right.length) {
      return `table ${table} lacks ${missing} rows and has ${added} others`;
    }
  }
  return undefined;
}
