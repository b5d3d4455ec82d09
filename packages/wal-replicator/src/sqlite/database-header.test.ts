import BetterSqlite3 from "better-sqlite3";
import { expect, test } from "vitest";
import { FormatError } from "../errors.ts";
import { decodeDatabaseHeader } from "./database-header.ts";

function databaseBytes(pageSize: number): Uint8Array {
  const database = new BetterSqlite3(":memory:");
  try {
    database.pragma(`page_size = ${pageSize}`);
    database.exec("CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    return new Uint8Array(database.serialize());
  } finally {
    database.close();
  }
}

function changed(bytes: Uint8Array, offset: number, ...values: number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(values, offset);
  return copy;
}

function reasonFor(bytes: Uint8Array): { code: string; offset: number | undefined } {
  try {
    decodeDatabaseHeader(bytes);
  } catch (error) {
    if (error instanceof FormatError) return { code: error.code, offset: error.offset };
    throw error;
  }
  throw new Error("it was decoded");
}

test.each([512, 4096, 65_536])(
  "the header of a database by SQLite with %d-byte pages is read",
  (pageSize) => {
    const header = decodeDatabaseHeader(databaseBytes(pageSize));
    expect(header).toMatchObject({ pageSize, journalMode: "rollback", dbPageCount: 2 });
  },
);

test("the read version alone tells WAL mode, as in SQLite", () => {
  const bytes = databaseBytes(512);
  expect(decodeDatabaseHeader(changed(bytes, 18, 2, 2)).journalMode).toBe("wal");
  expect(decodeDatabaseHeader(changed(bytes, 18, 1, 2)).journalMode).toBe("wal");
  expect(decodeDatabaseHeader(changed(bytes, 18, 2, 1)).journalMode).toBe("rollback");
});

test("a size in pages that the change counter does not confirm is not given", () => {
  const bytes = databaseBytes(512);
  expect(decodeDatabaseHeader(changed(bytes, 92, 0xff)).dbPageCount).toBeUndefined();
  expect(decodeDatabaseHeader(changed(bytes, 28, 0, 0, 0, 0)).dbPageCount).toBeUndefined();
});

test("a file that is no database is refused with the place", () => {
  const bytes = databaseBytes(512);
  const code = "DATABASE_BAD_HEADER";
  expect(reasonFor(new Uint8Array(0))).toEqual({ code, offset: 0 });
  expect(reasonFor(bytes.subarray(0, 99))).toEqual({ code, offset: 99 });
  expect(reasonFor(changed(bytes, 15, 1))).toEqual({ code, offset: 0 });
  expect(reasonFor(changed(bytes, 16, 0, 0))).toEqual({ code, offset: 16 });
  expect(reasonFor(changed(bytes, 16, 3, 0))).toEqual({ code, offset: 16 });
  expect(reasonFor(changed(bytes, 19, 3))).toEqual({ code, offset: 19 });
  expect(reasonFor(changed(bytes, 22, 33))).toEqual({ code, offset: 21 });
});
