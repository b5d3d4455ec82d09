import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { migrate, readMigrations } from "./migrations.ts";
import { readSettings, type Settings } from "./settings.ts";

/** The data directory of a real Vaultwarden 1.37.2. */
const recorded = fileURLToPath(
  new URL("../../../../test/fixtures/vaultwarden-data/data", import.meta.url),
);

let directory: string;
let settings: Settings;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "migrations-"));
  settings = readSettings({ DATA_FOLDER: directory });
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

function schemaOf(path: string): unknown {
  const database = new Database(path);
  try {
    return {
      schema: database
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
        .all(),
      versions: database
        .prepare("SELECT version FROM __diesel_schema_migrations ORDER BY version")
        .pluck()
        .all(),
      journalMode: database.pragma("journal_mode", { simple: true }),
    };
  } finally {
    database.close();
  }
}

test("a first boot ends in the schema, the versions and the 68 pages of the real server", async () => {
  migrate(settings);
  const recordedCopy = join(directory, "recorded");
  await cp(recorded, recordedCopy, { recursive: true });
  expect(schemaOf(settings.databasePath)).toEqual(schemaOf(join(recordedCopy, "db.sqlite3")));
  const database = new Database(settings.databasePath);
  expect(database.pragma("page_count", { simple: true })).toBe(68);
  database.close();
});

test("the database of the real server needs no migration", async () => {
  await cp(recorded, directory, { recursive: true });
  const before = schemaOf(settings.databasePath);
  migrate(settings);
  expect(schemaOf(settings.databasePath)).toEqual(before);
});

test("interrupted between two migrations, the next start carries on", () => {
  migrate(settings, readMigrations().slice(0, 30));
  migrate(settings);
  const database = new Database(settings.databasePath);
  expect(database.prepare("SELECT count(*) FROM __diesel_schema_migrations").pluck().get()).toBe(
    56,
  );
  expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
  database.close();
});

test("a foreign write lock with migrations pending fails at once", () => {
  migrate(settings, readMigrations().slice(0, 30));
  const other = new Database(settings.databasePath);
  other.exec("BEGIN IMMEDIATE");
  expect(() => migrate(settings)).toThrow(/locked/);
  other.close();
});
