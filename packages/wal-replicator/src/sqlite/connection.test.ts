import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { InvariantError } from "../errors.ts";
import {
  assertSqliteVersion,
  type HostDatabase,
  openConnection,
  type SqliteConnection,
} from "./connection.ts";

/** The application's connection. Both are in one process and use one copy of SQLite, which keeps their locks apart. */
let application: BetterSqlite3.Database;
let directory: string;
let path: string;
const opened: { close(): unknown }[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "connection-"));
  path = join(directory, "db.sqlite3");
  application = applicationOn(path);
  application.pragma("journal_mode = WAL");
  application.pragma("wal_autocheckpoint = 0");
  application.exec("CREATE TABLE t(x); INSERT INTO t VALUES (1)");
});

afterEach(() => {
  for (const connection of opened.splice(0)) connection.close();
  rmSync(directory, { recursive: true });
});

function applicationOn(file: string): BetterSqlite3.Database {
  const database = new BetterSqlite3(file, { timeout: 0 });
  opened.push(database);
  return database;
}

function open(options: { readonly?: boolean; file?: string } = {}): SqliteConnection {
  const { file = path, ...rest } = options;
  const connection = openConnection(file, { busyTimeoutMs: 0, ...rest });
  opened.push(connection);
  return connection;
}

/** Our connection together with the raw one inside it, to try what the wrapper does not offer. */
function openWithRaw(): { connection: SqliteConnection; raw: BetterSqlite3.Database } {
  const raws: BetterSqlite3.Database[] = [];
  class Host extends BetterSqlite3 {
    constructor(...args: ConstructorParameters<typeof BetterSqlite3>) {
      super(...args);
      raws.push(this);
    }
  }
  const connection = openConnection(path, { busyTimeoutMs: 0, Database: Host });
  opened.push(connection);
  const [raw] = raws;
  if (raw === undefined) throw new Error("the host's own class was not used");
  return { connection, raw };
}

function codeOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return undefined;
}

function insert(): void {
  application.exec("INSERT INTO t VALUES (randomblob(3000))");
}

function truncateByApplication(): unknown {
  return application.pragma("wal_checkpoint(TRUNCATE)");
}

describe("a read transaction", () => {
  test("sees the moment at which it began", () => {
    const connection = open();
    connection.beginRead();
    const before = connection.pageCount();
    for (let row = 0; row < 5; row++) insert();
    expect(connection.pageCount()).toBe(before);
    connection.endTransaction();
    expect(connection.pageCount()).toBeGreaterThan(before);
  });

  test("holds the WAL until it ends, although nothing more is read in it", () => {
    const connection = open();
    connection.beginRead();
    insert();
    expect(truncateByApplication()).toMatchObject([{ busy: 1 }]);
    connection.endTransaction();
    expect(truncateByApplication()).toMatchObject([{ busy: 0, log: 0 }]);
  });

  test("does not begin while the database is held exclusively, and leaves no transaction behind", () => {
    const file = join(directory, "rollback");
    const other = applicationOn(file);
    other.exec("CREATE TABLE t(x)");
    const connection = open({ file });
    other.exec("BEGIN EXCLUSIVE");
    expect(codeOf(() => connection.beginRead())).toBe("SQLITE_BUSY");
    other.exec("ROLLBACK");
    expect(codeOf(() => connection.beginRead())).toBeUndefined();
  });

  test("ends without complaint if there is none", () => {
    open().endTransaction();
  });
});

describe("a checkpoint", () => {
  test("NOOP tells how much is there and moves nothing", () => {
    const before = readFileSync(path);
    const frames = (statSync(`${path}-wal`).size - 32) / 4120;
    expect(open().checkpoint("NOOP")).toEqual({
      isBusy: false,
      logFrames: frames,
      checkpointedFrames: 0,
    });
    expect(readFileSync(path)).toEqual(before);
  });

  test("NOOP answers while the application is in the middle of a commit", () => {
    const connection = open();
    const before = connection.checkpoint("NOOP");
    application.exec("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)");
    expect(connection.checkpoint("NOOP")).toEqual(before);
    application.exec("COMMIT");
    expect(connection.checkpoint("NOOP").logFrames).toBeGreaterThan(before.logFrames);
  });

  test("PASSIVE moves what no reader needs, and TRUNCATE leaves an empty WAL", () => {
    const reader = open();
    const connection = open();
    reader.beginRead();
    const { logFrames } = connection.checkpoint("NOOP");
    insert();
    const partial = connection.checkpoint("PASSIVE");
    expect(partial.logFrames).toBeGreaterThan(logFrames);
    expect(partial.checkpointedFrames).toBe(logFrames);
    expect(connection.checkpoint("TRUNCATE").isBusy).toBe(true);
    reader.endTransaction();
    const whole = connection.checkpoint("PASSIVE");
    expect(whole.checkpointedFrames).toBe(whole.logFrames);
    expect(connection.checkpoint("TRUNCATE")).toEqual({
      isBusy: false,
      logFrames: 0,
      checkpointedFrames: 0,
    });
    expect(statSync(`${path}-wal`).size).toBe(0);
  });

  test("is refused in a transaction of its own", () => {
    const connection = open();
    connection.beginRead();
    expect(codeOf(() => connection.checkpoint("NOOP"))).toBe("SQLITE_LOCKED");
  });
});

describe("the write lock", () => {
  test("keeps the application from writing until the transaction ends", () => {
    const connection = open();
    expect(connection.tryBeginImmediate()).toBe(true);
    expect(codeOf(insert)).toBe("SQLITE_BUSY");
    connection.endTransaction();
    expect(codeOf(insert)).toBeUndefined();
  });

  test("is not taken while the application has it, and no transaction is left", () => {
    const { connection, raw } = openWithRaw();
    application.exec("BEGIN IMMEDIATE");
    expect(connection.tryBeginImmediate()).toBe(false);
    expect(raw.inTransaction).toBe(false);
    expect(codeOf(() => raw.exec("INSERT INTO t VALUES (3)"))).toBe("SQLITE_READONLY");
    application.exec("ROLLBACK");
    expect(connection.tryBeginImmediate()).toBe(true);
  });

  test("lets another connection of ours checkpoint everything", () => {
    const barrier = open();
    const control = open();
    barrier.tryBeginImmediate();
    const { logFrames, checkpointedFrames } = control.checkpoint("PASSIVE");
    expect(checkpointedFrames).toBe(logFrames);
  });
});

describe("our connection", () => {
  test("cannot write, neither outside nor inside the write lock", () => {
    const { connection, raw } = openWithRaw();
    const write = () => raw.exec("INSERT INTO t VALUES (3)");
    expect(codeOf(write)).toBe("SQLITE_READONLY");
    connection.tryBeginImmediate();
    expect(codeOf(write)).toBe("SQLITE_READONLY");
  });

  test("leaves every byte of database and WAL as it was", () => {
    const bytes = () => [readFileSync(path), readFileSync(`${path}-wal`)];
    const before = bytes();
    const connection = open();
    connection.beginRead();
    connection.endTransaction();
    connection.checkpoint("NOOP");
    connection.tryBeginImmediate();
    connection.endTransaction();
    connection.close();
    expect(bytes()).toEqual(before);
  });

  test("does not checkpoint by itself, syncs when told to, and keeps no cache", () => {
    const { raw } = openWithRaw();
    const pragma = (name: string) => raw.pragma(name, { simple: true });
    expect(pragma("wal_autocheckpoint")).toBe(0);
    expect(pragma("synchronous")).toBe(1);
    expect(pragma("cache_size")).toBe(10);
  });

  test("knows the page size, the journal mode and its SQLite", () => {
    const file = join(directory, "large-pages");
    const other = applicationOn(file);
    other.pragma("page_size = 8192");
    other.pragma("journal_mode = WAL");
    other.exec("CREATE TABLE t(x)");
    expect(open({ file }).pageSize()).toBe(8192);
    expect(open().journalMode()).toBe("wal");
    expect(open().sqliteVersion()).toMatch(/^3\.\d+\.\d+$/);
  });

  test("that is read-only reads and looks, and refuses the rest", () => {
    const connection = open({ readonly: true });
    connection.beginRead();
    connection.endTransaction();
    expect(connection.checkpoint("NOOP").logFrames).toBeGreaterThan(0);
    expect(() => connection.checkpoint("PASSIVE")).toThrow(InvariantError);
    expect(() => connection.tryBeginImmediate()).toThrow(InvariantError);
  });
});

describe("a rollback-journal database", () => {
  test("has no WAL to checkpoint, and is switched to WAL mode on request", () => {
    const file = join(directory, "rollback");
    applicationOn(file).exec("CREATE TABLE t(x)");
    const connection = open({ file });
    expect(connection.journalMode()).toBe("delete");
    expect(connection.checkpoint("NOOP")).toMatchObject({ logFrames: -1, checkpointedFrames: -1 });
    expect(connection.convertToWal()).toBe(true);
    expect(connection.journalMode()).toBe("wal");
  });

  test("that is in use is not switched", () => {
    const file = join(directory, "rollback");
    const other = applicationOn(file);
    other.exec("CREATE TABLE t(x); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
    expect(codeOf(() => open({ file }).convertToWal())).toBe("SQLITE_BUSY");
  });
});

describe("openConnection", () => {
  test("never creates a database, whatever the path means to SQLite", () => {
    const missing = join(directory, "missing");
    const paths = [missing, join(missing, "db"), ":memory:", `file:${missing}?mode=rwc`];
    for (const file of paths) {
      expect(codeOf(() => open({ file }))).toBe("DATABASE_MISSING");
    }
    expect(existsSync(missing)).toBe(false);
  });

  test("does not create a database that goes away while it is opened, and never passes on a name that SQLite might interpret", () => {
    class Host extends BetterSqlite3 {
      constructor(...[file, options]: ConstructorParameters<typeof BetterSqlite3>) {
        expect(file).toBe(gone);
        rmSync(gone);
        super(file, options);
      }
    }
    const gone = join(directory, "gone");
    applicationOn(gone).exec("CREATE TABLE t(x)");
    const open = () =>
      openConnection(relative(process.cwd(), gone), { busyTimeoutMs: 0, Database: Host });
    expect(codeOf(open)).toBe("SQLITE_CANTOPEN");
    expect(existsSync(gone)).toBe(false);
  });

  test("waits for the busy timeout and gives up on an application with an exclusive WAL", () => {
    const file = join(directory, "exclusive");
    const other = applicationOn(file);
    other.pragma("journal_mode = WAL");
    other.pragma("locking_mode = EXCLUSIVE");
    other.exec("CREATE TABLE t(x)");
    expect(codeOf(() => open({ file }))).toBe("SQLITE_BUSY");
  });

  test("refuses a host's class with too old a SQLite, and closes what it opened", () => {
    let closed = 0;
    class OldHost implements HostDatabase {
      readonly inTransaction = false;
      prepare() {
        return { run: () => undefined, get: () => ({ version: "3.50.2" }) };
      }
      pragma(source: string): never {
        throw new Error(`nothing may run on it: ${source}`);
      }
      close() {
        closed += 1;
      }
    }
    const refused = () => openConnection(path, { busyTimeoutMs: 0, Database: OldHost });
    expect(codeOf(refused)).toBe("SQLITE_TOO_OLD");
    expect(closed).toBe(1);
  });
});

describe("assertSqliteVersion", () => {
  test("accepts 3.51.3 and newer", () => {
    for (const version of ["3.51.3", "3.51.10", "3.52.0", "3.100.0", "4.0.0", "3.51.3.1"]) {
      expect(codeOf(() => assertSqliteVersion(version))).toBeUndefined();
    }
  });

  test("refuses everything older, and what is no version", () => {
    for (const version of ["3.51.2", "3.51", "3.9.99", "3.50.7", "2.99.99", "", "next"]) {
      expect(codeOf(() => assertSqliteVersion(version))).toBe("SQLITE_TOO_OLD");
    }
  });
});
