import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createPrng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lockPgno } from "../ltx/lock-page.ts";
import { decodeFile } from "../ltx/testing.ts";
import { toTxid } from "../ltx/txid.ts";
import { Capture } from "./capture.ts";
import { type Connections, openConnections } from "./connections.ts";
import { PageChecksums } from "./page-checksums.ts";
import { type SnapshotDeps, SnapshotMaker } from "./snapshot.ts";
import { Spool } from "./spool.ts";

const seed = seedFromEnvironment();
const timeline = "00000001-aaaaaaaa";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "snapshot-"));
});
const opened: Stream[] = [];
afterEach(async () => {
  for (const stream of opened.splice(0)) await stream.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A captured database without a session around it: passes and checkpoints run when the test says so. */
class Stream {
  readonly spool: Spool;
  readonly app: BetterSqlite3.Database;
  readonly connections: Connections;
  readonly capture: Capture;
  /** The database as SQLite showed it at each captured TXID. */
  readonly states = new Map<bigint, Buffer>();
  /** Bytes read from the database file, while a read transaction of the snapshot was open and while none was. */
  readonly bytesRead = { held: 0, free: 0 };
  #nowMs = 1_000_000;
  mergeCount = 0;
  isHeld = false;
  /** Called at each read of the database file for a snapshot, unless a pass runs. */
  onRead = (): void => {};
  /** Just before the transaction of a snapshot begins. */
  onBegin = (): void => {};
  onPass = async (): Promise<void> => {};
  onStored = async (): Promise<void> => {};

  constructor(spool: Spool, pageSize: number, fill: (app: BetterSqlite3.Database) => void) {
    const path = join(directory, "app.db");
    this.app = new BetterSqlite3(path);
    this.app.pragma(`page_size = ${pageSize}`);
    this.app.pragma("journal_mode = wal");
    this.app.pragma("synchronous = off");
    fill(this.app);
    this.connections = openConnections(path, undefined);
    this.capture = new Capture(
      {
        database: this.connections.database,
        walPath: this.connections.walPath,
        control: this.connections.control,
        spool,
        now: () => {
          this.#nowMs += 1;
          return this.#nowMs;
        },
        timestampMsMin: 0,
      },
      pageSize,
      { txid: undefined, walPosition: undefined, pageCount: 0, checksums: undefined },
    );
    this.spool = spool;
    opened.push(this);
  }

  #passes: Promise<void> = Promise.resolve();
  isPassing = false;

  /** One after the other, as the loop runs them. */
  pass(): Promise<void> {
    const done = this.#passes.then(async () => {
      this.isPassing = true;
      await this.#pass().finally(() => {
        this.isPassing = false;
      });
    });
    this.#passes = done.catch(() => {});
    return done;
  }

  async #pass(): Promise<void> {
    await this.onPass();
    await this.connections.anchor.rotate((reader) =>
      this.capture.state.txid === undefined
        ? this.capture.snapshot(reader, toTxid(1))
        : this.capture.incremental(reader),
    );
    const { txid } = this.capture.state;
    if (txid !== undefined && !this.states.has(txid)) this.states.set(txid, this.app.serialize());
  }

  /** Moves what is captured into the file, as between two passes. */
  checkpoint(): void {
    this.connections.control.checkpoint("PASSIVE");
  }

  async close(): Promise<void> {
    await this.#passes;
    this.connections.close();
    this.app.close();
    this.spool.close();
  }

  maker(capture: SnapshotDeps["capture"] = this.capture): SnapshotMaker {
    const { connections } = this;
    const { database } = connections;
    const deps: SnapshotDeps = {
      capture,
      database: {
        ...database,
        read: (target, position) => {
          const count = database.read(target, position);
          this.bytesRead[this.isHeld ? "held" : "free"] += count;
          if (!this.isPassing) this.onRead();
          return count;
        },
      },
      walPath: connections.walPath,
      pageSize: connections.pageSize,
      openReader: () => {
        const reader = connections.openReader();
        const { close, beginRead } = reader;
        reader.beginRead = () => {
          this.onBegin();
          beginRead.call(reader);
          this.isHeld = true;
        };
        reader.close = () => {
          this.isHeld = false;
          close.call(reader);
        };
        return reader;
      },
      pass: () => this.pass(),
      storedSoFar: () => this.onStored(),
      mergeCount: () => this.mergeCount,
    };
    return new SnapshotMaker(deps);
  }
}

async function open(
  pageSize: number,
  fill: (app: BetterSqlite3.Database) => void,
): Promise<Stream> {
  const spool = await Spool.open(join(directory, "spool"));
  await spool.saveState({
    version: 1,
    timeline,
    position: undefined,
    storedTxid: undefined,
    restored: false,
    generations: [],
  });
  const stream = new Stream(spool, pageSize, fill);
  await stream.pass();
  return stream;
}

const scratch = (): string => join(directory, "scratch");
const { signal } = new AbortController();

/** Whether an LTX file has exactly the pages that SQLite showed. */
function expectPages(path: string, state: Buffer, pageSize: number): void {
  const { verdict, pages } = decodeFile(readFileSync(path));
  expect(verdict.header).toMatchObject({ minTxid: 1n, commit: state.length / pageSize });
  const lock = lockPgno(pageSize);
  for (let pgno = 1; pgno <= state.length / pageSize; pgno++) {
    if (pgno === lock) continue;
    const expected = state.subarray((pgno - 1) * pageSize, pgno * pageSize);
    if (!expected.equals(pages.get(pgno) ?? new Uint8Array())) throw new Error(`page ${pgno}`);
  }
}

const rows = (count: number, bytes: number) => (app: BetterSqlite3.Database) => {
  app.exec("CREATE TABLE item (id INTEGER PRIMARY KEY, content BLOB)");
  const insert = app.prepare("INSERT INTO item (content) VALUES (zeroblob(?))");
  app.transaction(() => {
    for (let row = 0; row < count; row++) insert.run(bytes);
  })();
};

describe("a snapshot", () => {
  it("of a small database is read in one go", async () => {
    const stream = await open(4096, rows(100, 3_000));
    const file = await stream.maker().make(scratch(), signal);
    expect(file.name).toMatchObject({ minTxid: 1n, maxTxid: 1n });
    expectPages(file.path, stream.states.get(1n) as Buffer, 4096);
    expect(stream.bytesRead.free).toBe(0);
    expect(readdirSync(scratch())).toEqual(["snapshot.tmp"]);
  });

  it("of a large one holds checkpoints back only for what changed while it was copied, and is exact", async () => {
    const stream = await open(4096, rows(10_000, 3_900));
    stream.checkpoint();
    let reads = 0;
    stream.onRead = () => {
      reads += 1;
      if (stream.isHeld || reads % 10 !== 0) return;
      stream.app.exec(`UPDATE item SET content = randomblob(3900) WHERE id % 500 = ${reads}`);
      void stream.pass().then(() => stream.checkpoint());
    };
    const file = await stream.maker().make(scratch(), signal);
    expect(file.name.maxTxid).toBeGreaterThan(1n);
    expectPages(file.path, stream.states.get(file.name.maxTxid) as Buffer, 4096);
    expect(stream.bytesRead.free).toBeGreaterThan(38 << 20);
    expect(stream.bytesRead.held).toBeLessThan(2 << 20);
  });

  it("is of what its transaction saw and a pass captured, not of what is moved into the file behind it", async () => {
    const stream = await open(4096, rows(3_000, 3_900));
    stream.checkpoint();
    const change = (rest: number): void =>
      void stream.app.exec(`UPDATE item SET content = randomblob(3900) WHERE id % 3 = ${rest}`);
    stream.onBegin = () => change(0);
    let reads = 0;
    stream.onRead = () => {
      reads += 1;
      if (!stream.isHeld || reads > 2) return;
      change(reads);
      void stream.pass().then(() => stream.checkpoint());
    };
    const file = await stream.maker().make(scratch(), signal);
    expect(stream.bytesRead).toMatchObject({ free: 0 });
    expect(stream.states.size).toBeGreaterThan(2);
    expect(file.name.maxTxid).toBe(2n);
    expectPages(file.path, stream.states.get(2n) as Buffer, 4096);
  });

  it("behind a writer that changes all of it again and again, it takes the rest as it is", async () => {
    const stream = await open(4096, rows(5_000, 3_900));
    const { capture } = stream;
    // As it is while everything is captured anew as fast as it is copied.
    const other = new PageChecksums(4096);
    other.resize(capture.state.pageCount);
    for (let pgno = 1; pgno <= other.pageCount; pgno++) other.set(pgno, pgno, 0x80000000);
    const maker = stream.maker({
      get state() {
        return stream.isHeld ? capture.state : { ...capture.state, checksums: other };
      },
      nextTimestampMs: () => capture.nextTimestampMs(),
    });
    const file = await maker.make(scratch(), signal);
    const bytes = (stream.states.get(1n) as Buffer).length;
    expect(stream.bytesRead.free).toBe(4 * bytes);
    expectPages(file.path, stream.states.get(file.name.maxTxid) as Buffer, 4096);
  });

  it.each([1024, 4096, 65_536])(
    `with pages of %i bytes has what SQLite showed, whatever happens while it is made (seed ${seed})`,
    async (pageSize) => {
      const prng = createPrng(seed + pageSize);
      const stream = await open(pageSize, rows(6_000, 2_900));
      const change = (): void => {
        const from = prng.integer(1, 7_000);
        const to = from + prng.integer(1, 200);
        const update = `UPDATE item SET content = randomblob(2900) WHERE id BETWEEN ${from} AND ${to}`;
        const remove = `DELETE FROM item WHERE id BETWEEN ${from} AND ${to + 400}`;
        const grow = `INSERT INTO item (content) SELECT content FROM item LIMIT ${to - from}`;
        stream.app.exec(prng.pick([update, update, update, remove, grow, grow, "VACUUM"]));
      };
      stream.onRead = () => {
        if (stream.isHeld || !prng.chance(0.3)) return;
        change();
        if (prng.chance(0.3)) return;
        void stream.pass().then(() => {
          if (prng.chance(0.7)) stream.checkpoint();
        });
      };
      // Behind the beginning of the transaction too.
      stream.onPass = async () => {
        if (stream.isHeld) change();
      };
      for (let round = 0; round < 2; round++) {
        const file = await stream.maker().make(scratch(), signal);
        expectPages(file.path, stream.states.get(file.name.maxTxid) as Buffer, pageSize);
      }
    },
  );
});

describe("a snapshot that is made again", () => {
  it("of the same TXID has the same bytes: an attempt whose answer was lost may lie in the store", async () => {
    const stream = await open(4096, rows(100, 3_000));
    const maker = stream.maker();
    const first = readFileSync((await maker.make(scratch(), signal)).path);
    const again = await maker.make(scratch(), signal);
    expect(again.name.maxTxid).toBe(1n);
    expect(readFileSync(again.path).equals(first)).toBe(true);
  });

  it("because its TXID was taken back before it was stored, is of the new state", async () => {
    const stream = await open(4096, rows(100, 3_000));
    stream.onStored = async () => {
      if (stream.mergeCount === 2) return;
      stream.mergeCount += 1;
      stream.app.exec(`DELETE FROM item WHERE id = ${stream.mergeCount}`);
    };
    const file = await stream.maker().make(scratch(), signal);
    expect(file.name.maxTxid).toBe(3n);
    expectPages(file.path, stream.states.get(3n) as Buffer, 4096);
  });
});

describe("a snapshot that fails", () => {
  it("leaves no file and no transaction, whatever failed", async () => {
    const stream = await open(4096, rows(100, 3_000));
    const failure = new Error("away");
    stream.onStored = async () => {
      throw failure;
    };
    await expect(stream.maker().make(scratch(), signal)).rejects.toBe(failure);
    stream.onPass = async () => {
      throw failure;
    };
    await expect(stream.maker().make(scratch(), signal)).rejects.toBe(failure);
    expect(readdirSync(scratch())).toEqual([]);
    expect(stream.isHeld).toBe(false);
  });

  it("ends with the signal's reason in the middle of the copy", async () => {
    const stream = await open(4096, rows(10_000, 3_900));
    const aborting = new AbortController();
    const reason = new Error("the end");
    stream.onRead = () => {
      if (stream.bytesRead.free > 5 << 20) aborting.abort(reason);
    };
    await expect(stream.maker().make(scratch(), aborting.signal)).rejects.toBe(reason);
    expect(stream.bytesRead.free).toBeLessThan(8 << 20);
    expect(readdirSync(scratch())).toEqual([]);
  });

  it("because its own copy was damaged on the disk, does not count", async () => {
    const stream = await open(4096, rows(10_000, 3_900));
    stream.onPass = async () => {
      const copy = join(scratch(), "database.tmp");
      if (!existsSync(copy)) return;
      const file = openSync(copy, "r+");
      writeSync(file, "x", 4096 * 500 + 100);
      closeSync(file);
    };
    await expect(stream.maker().make(scratch(), signal)).rejects.toMatchObject({
      code: "CAPTURE_UNSTABLE",
      message: expect.stringContaining("page 501"),
    });
    expect(readdirSync(scratch())).toEqual([]);
  });
});
