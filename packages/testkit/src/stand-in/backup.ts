import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import type { Settings } from "./settings.ts";

/**
 * The server's own backup: `VACUUM INTO db_YYYYMMDD_HHMMSS.sqlite3` beside the database, in UTC. Nobody ever deletes these.
 *
 * @returns the file's path.
 * @throws {SqliteError} `output file already exists`, for the second one in one second.
 */
export function backUpDatabase(settings: Settings, nowMs: number): string {
  const time = new Date(nowMs).toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "_");
  const path = join(dirname(settings.databasePath), `db_${time}.sqlite3`);
  if (existsSync(path)) throw new Error("output file already exists");
  const database = new Database(settings.databasePath, { readonly: true });
  try {
    database.prepare("VACUUM INTO ?").run(path);
  } finally {
    database.close();
  }
  return path;
}
