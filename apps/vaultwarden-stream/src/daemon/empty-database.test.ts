import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createEmptyDatabase } from "./empty-database.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "empty-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it("makes one empty page in WAL mode that SQLite finds sound and goes on with", async () => {
  const path = join(directory, "new", "db.sqlite3");
  await createEmptyDatabase(path);
  expect(readFileSync(path)).toHaveLength(4096);
  const database = new Database(path);
  expect(database.pragma("journal_mode", { simple: true })).toBe("wal");
  expect(database.pragma("page_size", { simple: true })).toBe(4096);
  expect(database.pragma("page_count", { simple: true })).toBe(1);
  expect(database.pragma("auto_vacuum", { simple: true })).toBe(0);
  expect(database.pragma("encoding", { simple: true })).toBe("UTF-8");
  expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
  database.exec("CREATE TABLE t(x); INSERT INTO t VALUES (1)");
  expect(database.prepare("SELECT x FROM t").pluck().get()).toBe(1);
  database.close();
});

it("is byte for byte what SQLite itself writes for an empty database, but for the version that wrote it", async () => {
  const ours = join(directory, "ours");
  await createEmptyDatabase(ours);
  const theirs = join(directory, "theirs");
  const database = new Database(theirs);
  database.exec(
    "PRAGMA page_size = 4096; PRAGMA journal_mode = wal; CREATE TABLE t(x); DROP TABLE t; VACUUM",
  );
  database.close();
  const [a, b] = [readFileSync(ours), readFileSync(theirs)];
  // Change counter, schema cookie, default cache, version-valid-for and version differ with the history.
  for (const page of [a, b]) {
    for (const [start, end] of [
      [24, 28],
      [40, 44],
      [92, 100],
    ] as const)
      page.fill(0, start, end);
  }
  expect(a.equals(b.subarray(0, 4096))).toBe(true);
});
