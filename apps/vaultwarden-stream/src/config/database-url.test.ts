import { expect, it } from "vitest";
import { sqlitePathOf } from "./database-url.ts";

it.each([
  ["sqlite://data/db.sqlite3", "data/db.sqlite3"],
  ["sqlite:///data/db%41.sqlite3", "/data/dbA.sqlite3"],
  ["sqlite:///data/db?cache=shared#x", "/data/db"],
  ["/data/my%20db", "/data/my%20db"],
])("finds the file of %s", (url, path) => {
  expect(sqlitePathOf(url)).toEqual({ path });
});

it.each([
  "postgresql://h/db",
  "sqlite:/data/db",
  "file:/data/db",
  "sqlite://",
  "sqlite:///db?immutable=1",
  "sqlite:///db?vfs=unix-none",
  "sqlite:///db%zz",
  "sqlite:///db%00",
  "sqlite:////localhost/data/db",
  "",
])("finds no file to stream in %s", (url) => {
  expect(sqlitePathOf(url)).toHaveProperty("reason");
});
