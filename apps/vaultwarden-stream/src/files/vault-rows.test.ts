import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readVaultRows } from "./vault-rows.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vault-rows-"));
  path = join(directory, "db.sqlite3");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function create(sql: string): Database.Database {
  const database = new Database(path);
  database.pragma("journal_mode = wal");
  database.exec(sql);
  return database;
}

const tables = `
  CREATE TABLE attachments (id TEXT PRIMARY KEY, cipher_uuid TEXT, file_name TEXT, file_size INTEGER);
  CREATE TABLE sends (uuid TEXT PRIMARY KEY, atype INTEGER, data TEXT);`;

it("names the files of attachments and of file sends, with their sizes, while the server writes", () => {
  const database = create(`${tables}
    INSERT INTO attachments VALUES ('a1', 'c1', 'x', 19569);
    INSERT INTO sends VALUES ('s1', 1, '{"id":"f1","size":2369}'), ('s2', 0, '{"text":"x"}'), ('s3', 1, '{"id":"f3","size":"12"}');`);
  database.exec("BEGIN IMMEDIATE; INSERT INTO attachments VALUES ('a2', 'c1', 'x', 1)");
  expect([...readVaultRows(path)]).toEqual([
    ["attachments/c1/a1", 19569],
    ["sends/s1/f1", 2369],
    ["sends/s3/f3", 12],
  ]);
  database.close();
});

it("a vault that has no tables yet names nothing", () => {
  create("").close();
  expect(readVaultRows(path).size).toBe(0);
});

it("rows that would lead elsewhere, or that the server could not read, name no file", () => {
  create(`${tables}
    INSERT INTO attachments VALUES ('../../key', 'c1', 'x', 1), ('a', '..', 'x', 1), ('b', 'c', 'x', -1), ('d', 'c', 'x', 'many');
    INSERT INTO sends VALUES ('s1', 1, 'not json'), ('s2', 1, 'null'), ('s3', 1, '{"id":"a/b","size":1}');`).close();
  expect(readVaultRows(path).size).toBe(0);
});

it("without a database there is no answer", () => {
  expect(() => readVaultRows(path)).toThrow();
  expect(readdirSync(directory)).toEqual([]);
});
