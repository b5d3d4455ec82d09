/**
 * A consistent private copy of a database that others may be using, for children that examine it.
 *
 * The copy is made under a read transaction, which keeps every frame of the WAL in place; pages that a checkpoint moves into the file
 * meanwhile are in the copied WAL as well, and commits that arrive meanwhile are in the copy wholly or not at all. It is made by
 * another process, because closing a descriptor of a database drops the SQLite locks that the process holds on it.
 */
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";

/** Calls `examine` with the copy, opened for writing, and removes the copy afterwards. The original is not changed, but gets a `-shm` if it lacks one. */
export function withDatabaseCopy<Result>(
  path: string,
  examine: (copyPath: string, copy: Database.Database) => Result,
): Result {
  const directory = mkdtempSync(join(tmpdir(), "database-copy-"));
  try {
    const copyPath = join(directory, "copy.db");
    copyDatabase(path, copyPath);
    const copy = new Database(copyPath, { fileMustExist: true });
    try {
      return examine(copyPath, copy);
    } finally {
      copy.close();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function copyDatabase(path: string, copyPath: string): void {
  const walPath = `${path}-wal`;
  if (isWalDatabase(path) && !existsSync(walPath)) {
    // Nobody who has read from it has it open. Opening it would leave a WAL behind, since readers do not remove theirs.
    copyFile(path, copyPath);
    return;
  }
  const database = new Database(path, { readonly: true, fileMustExist: true, timeout: 30_000 });
  try {
    database.exec("BEGIN");
    database.prepare("SELECT count(*) FROM sqlite_schema").get();
    // The file first: what a checkpoint moves into it after that is in the WAL that is copied next.
    copyFile(path, copyPath);
    if (existsSync(walPath)) copyFile(walPath, `${copyPath}-wal`);
    database.exec("COMMIT");
  } finally {
    database.close();
  }
}

/** By the write version in the header. To be called before this process opens the database: closing drops its locks. */
function isWalDatabase(path: string): boolean {
  const descriptor = openSync(path, "r");
  try {
    const header = new Uint8Array(20);
    return readSync(descriptor, header, 0, 20, 0) === 20 && header[18] === 2;
  } finally {
    closeSync(descriptor);
  }
}

function copyFile(from: string, to: string): void {
  const run = spawnSync("cp", ["--", from, to], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`cp failed: ${run.stderr || run.error?.message}`);
}
