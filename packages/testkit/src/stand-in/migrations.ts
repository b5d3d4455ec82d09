/**
 * What the server does with the database before anything else: one connection with a busy timeout of 0, which switches to WAL, runs
 * what is pending, each migration in a transaction of its own, and is closed.
 */
import { readFileSync } from "node:fs";
import Database from "better-sqlite3";
import type { Settings } from "./settings.ts";

export interface Migration {
  readonly version: string;
  /** May be empty. */
  readonly sql: string;
}

/** All migrations in order. */
export function readMigrations(): Migration[] {
  const text = readFileSync(new URL("./migrations.sql", import.meta.url), "utf8");
  return text
    .split(/^-- migration /m)
    .slice(1)
    .map((part) => {
      const lineEnd = part.indexOf("\n");
      return { version: part.slice(0, lineEnd), sql: part.slice(lineEnd + 1).trim() };
    });
}

/** @throws {SqliteError} at the first foreign lock: the caller takes it for a panic, as the server does. */
export function migrate(
  settings: Settings,
  migrations: readonly Migration[] = readMigrations(),
): void {
  const database = new Database(settings.databasePath, {
    timeout: 0,
    readonly: settings.databaseReadOnly,
  });
  try {
    database.pragma("foreign_keys = OFF");
    if (settings.enableDbWal) database.pragma("journal_mode = wal");
    runPending(database, migrations);
  } finally {
    database.close();
  }
}

function runPending(database: Database.Database, migrations: readonly Migration[]): void {
  const hasTable = database
    .prepare("SELECT count(*) FROM sqlite_schema WHERE name = '__diesel_schema_migrations'")
    .pluck()
    .get();
  if (hasTable === 0) {
    database.exec(
      "CREATE TABLE __diesel_schema_migrations (\n       version VARCHAR(50) PRIMARY KEY NOT NULL,\n       run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP\n)",
    );
  }
  const done = new Set(
    database.prepare("SELECT version FROM __diesel_schema_migrations").pluck().all(),
  );
  for (const { version, sql } of migrations) {
    if (done.has(version)) continue;
    database.exec("BEGIN IMMEDIATE");
    try {
      database.exec(sql);
      database.prepare("INSERT INTO __diesel_schema_migrations (version) VALUES (?)").run(version);
      database.exec("COMMIT");
    } finally {
      if (database.inTransaction) database.exec("ROLLBACK");
    }
  }
}
