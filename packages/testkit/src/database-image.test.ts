import { createHash } from "node:crypto";
import { existsSync, truncateSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readDatabaseImage, readThroughSqlite } from "./database-image.ts";
import { checkWorkloadDatabase, startWorkload } from "./sqlite-workload.ts";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "image-"));
  path = join(directory, "app.db");
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

test("an image is what SQLite's own serialization holds, file and WAL together", async () => {
  const database = new Database(path);
  database.pragma("page_size = 512");
  database.pragma("journal_mode = wal");
  database.exec("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(40000))");
  database.pragma("wal_checkpoint(TRUNCATE)");
  database.exec("UPDATE t SET a = randomblob(30000); INSERT INTO t VALUES (randomblob(5000))");
  const serialized = database.serialize();

  const image = await readDatabaseImage(path);
  expect(image).toEqual({
    pageSize: 512,
    pageCount: serialized.length / 512,
    sha256: createHash("sha256").update(serialized).digest("hex"),
  });
  expect(Buffer.compare(await readThroughSqlite(path), serialized)).toBe(0);
  database.close();
});

test("reading changes nothing: no WAL appears, none is moved into the file", async () => {
  const database = new Database(path);
  database.pragma("journal_mode = wal");
  database.exec("CREATE TABLE t (a)");
  database.close();
  await readDatabaseImage(path);
  expect(await readdir(directory)).toEqual(["app.db"]);

  const workload = await startWorkload({ databasePath: path, seed: 1, commitsMax: 5 });
  await workload.finished;
  await workload.kill();
  const before = await readdir(directory);
  const first = await readDatabaseImage(path);
  expect(await readDatabaseImage(path)).toEqual(first);
  expect(await readdir(directory)).toEqual(before);
  expect(existsSync(`${path}-wal`)).toBe(true);
});

test("beside a busy writer each image is a committed state", async () => {
  const workload = await startWorkload({ databasePath: path, seed: 2, walAutocheckpoint: 20 });
  const imagePath = join(directory, "image.db");
  for (let round = 0; round < 3; round += 1) {
    await writeFile(imagePath, await readThroughSqlite(path));
    expect((await checkWorkloadDatabase(imagePath)).problems).toEqual([]);
  }
  await workload.kill();
});

test("a rollback-journal database has an image too", async () => {
  const database = new Database(path);
  database.exec("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(9000))");
  const serialized = database.serialize();
  database.close();
  expect((await readDatabaseImage(path)).sha256).toBe(
    createHash("sha256").update(serialized).digest("hex"),
  );
});

test("a file that is shorter than its header says is refused", async () => {
  const database = new Database(path);
  database.pragma("journal_mode = wal");
  database.exec("CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(90000))");
  database.close();
  truncateSync(path, 8192);
  await expect(readDatabaseImage(path)).rejects.toThrow(/ended with code 1/);
});
