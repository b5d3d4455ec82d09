import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type WaitOptions, waitForDatabase } from "./wait-for-database.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "wait-for-database-"));
  path = join(directory, "app.db");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function createDatabase(mode: "delete" | "wal"): void {
  const database = new Database(path);
  database.pragma(`journal_mode = ${mode}`);
  database.exec("CREATE TABLE IF NOT EXISTS t (a)");
  database.close();
}

/** A clock on which time passes in sleeps alone; what happens meanwhile is given by the number of sleeps before it. */
function waiting(events: Readonly<Record<number, () => void>>): WaitOptions & { slept: number } {
  let clockMs = 0;
  const options = {
    wait: true,
    isNew: false,
    slept: 0,
    now: () => Date.now() + 60_000,
    nowMs: () => clockMs,
    sleep: async (ms: number) => {
      if (options.slept > 1_000) throw new Error("it waits forever");
      events[options.slept]?.();
      options.slept += 1;
      clockMs += ms;
    },
  };
  return options;
}

it("a database that its application creates in rollback mode is waited for until it is in WAL mode", async () => {
  const options = waiting({ 3: () => createDatabase("delete"), 20: () => createDatabase("wal") });
  await waitForDatabase({ database: path }, options);
  expect(options.slept).toBe(21);
});

it("a new database that stays in rollback mode is refused after ten seconds", async () => {
  const options = waiting({ 3: () => createDatabase("delete") });
  await expect(waitForDatabase({ database: path }, options)).rejects.toMatchObject({
    code: "DATABASE_NOT_WAL",
  });
  expect(options.slept).toBe(4 + 10_000 / 200);
});

it("an empty file is a database that is being created: it is waited for, however long that takes", async () => {
  writeFileSync(path, "");
  const options = waiting({ 200: () => createDatabase("wal") });
  await waitForDatabase({ database: path }, options);
  expect(options.slept).toBe(201);
});

it("a rollback database that was there before is refused at once", async () => {
  createDatabase("delete");
  const options = waiting({});
  await expect(waitForDatabase({ database: path }, options)).rejects.toMatchObject({
    code: "DATABASE_NOT_WAL",
  });
  expect(options.slept).toBe(0);
});

it("one that was made a moment before the first look is new, and is given its ten seconds", async () => {
  createDatabase("delete");
  const options = waiting({ 3: () => createDatabase("wal") });
  await waitForDatabase({ database: path }, Object.assign(options, { now: Date.now }));
  expect(options.slept).toBe(4);
});

it("without waiting, a missing database and an empty file are refused at once", async () => {
  const options = { ...waiting({}), wait: false };
  await expect(waitForDatabase({ database: path }, options)).rejects.toMatchObject({
    code: "DATABASE_MISSING",
  });
  writeFileSync(path, "");
  await expect(waitForDatabase({ database: path }, options)).rejects.toMatchObject({
    code: "DATABASE_NOT_WAL",
  });
});

it("an empty file becomes a WAL database where the conversion is asked for", async () => {
  writeFileSync(path, "");
  await waitForDatabase({ database: path, convertToWal: true }, waiting({}));
  expect(statSync(path).size).toBeGreaterThan(0);
});

it("the reason of an aborted signal passes unwrapped", async () => {
  const aborted = new AbortController();
  const reason = new Error("enough");
  const options = waiting({ 2: () => aborted.abort(reason) });
  await expect(waitForDatabase({ database: path, signal: aborted.signal }, options)).rejects.toBe(
    reason,
  );
});
