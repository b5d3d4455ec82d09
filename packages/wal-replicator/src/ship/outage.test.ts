import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DirectoryStore,
  type Fault,
  FaultyStore,
  MemoryStore,
  type ObjectStore,
} from "@vaultwarden-stream/object-store";
import { createPrng, type Prng, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ReplicationEvent } from "../events.ts";
import { blockBytesMax } from "../ltx/lz4-block.ts";
import { makeSessionDeps } from "../make-session-deps.ts";
import { listTimeline, readRollingChecksumAt } from "../replica/replica.ts";
import type { Position } from "../replication.ts";
import { restoreDatabase } from "../restore/restore.ts";
import { bytesOnDisk } from "./plan-spool-merge.ts";
import type { Session } from "./session.ts";
import type { SessionDeps } from "./session-deps.ts";
import { nextTurn, SimulatedClock } from "./session-testing.ts";
import { spoolDirectory } from "./spool.ts";
import { spoolBytesMax } from "./spool-bound.ts";
import { startSession } from "./start-session.ts";

const seed = seedFromEnvironment();

let directory: string;
let database: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "outage-"));
  database = join(directory, "app.db");
});
const mounted: string[] = [];
afterEach(() => {
  // Also behind a test that ran out of time.
  for (const path of mounted.splice(0)) execFileSync("umount", ["--lazy", path]);
  rmSync(directory, { recursive: true, force: true });
});

/** Connections of the engine that hold the write lock: known from its own statements. */
const lockHolders = new Set<unknown>();
class WatchedDatabase extends BetterSqlite3 {
  override prepare(source: string): never {
    const statement = super.prepare(source);
    const run = statement.run.bind(statement);
    statement.run = (...parameters: unknown[]) => {
      const result = run(...parameters);
      if (source === "BEGIN IMMEDIATE") lockHolders.add(this);
      if (source === "ROLLBACK") lockHolders.delete(this);
      return result;
    };
    return statement as never;
  }
}

/** An application that never waits for a lock. */
class Application {
  readonly #database: BetterSqlite3.Database;
  readonly #prng: Prng;
  commits = 0;
  busyBehindBarriers = 0;
  busyElsewhere = 0;
  pageCountMax = 0;

  constructor(path: string, prng: Prng) {
    this.#prng = prng;
    this.#database = new BetterSqlite3(path, { timeout: 0 });
    this.#database.pragma("journal_mode = WAL");
    this.#database.pragma("synchronous = OFF");
    this.#database.exec("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, content BLOB)");
  }

  insert(count: number): boolean {
    return this.#commit(() => {
      const insert = this.#database.prepare("INSERT INTO item (content) VALUES (?)");
      for (let row = 0; row < count; row += 1)
        insert.run(this.#prng.bytes(this.#prng.integer(1, 3_000)));
    });
  }

  /** A little of everything: churn, growth, and as much removed again. */
  change(): boolean {
    return this.#commit(() => {
      const { newest } = this.#database
        .prepare("SELECT coalesce(max(id), 1) AS newest FROM item")
        .get() as { newest: number };
      const id = this.#prng.integer(1, newest);
      const content = this.#prng.bytes(this.#prng.integer(1, 12_000));
      if (this.#prng.chance(0.6)) {
        this.#database.prepare("UPDATE item SET content = ? WHERE id = ?").run(content, id);
      } else if (this.#prng.chance(0.5)) {
        this.#database.prepare("INSERT INTO item (content) VALUES (?)").run(content);
      } else {
        this.#database.prepare("DELETE FROM item WHERE id BETWEEN ? AND ?").run(id, id + 1);
      }
    });
  }

  vacuum(): boolean {
    return this.#attempt(() => this.#database.exec("VACUUM"));
  }

  close(): void {
    this.#database.close();
  }

  #commit(work: () => void): boolean {
    return this.#attempt(this.#database.transaction(work).immediate);
  }

  #attempt(work: () => void): boolean {
    try {
      work();
    } catch (error) {
      if (!(error as { code: string }).code.startsWith("SQLITE_BUSY")) throw error;
      if (lockHolders.size > 0) this.busyBehindBarriers += 1;
      else this.busyElsewhere += 1;
      return false;
    }
    this.commits += 1;
    const pageCount = this.#database.pragma("page_count", { simple: true }) as number;
    this.pageCountMax = Math.max(this.pageCountMax, pageCount);
    return true;
  }
}

/** A stream whose store can be away, on a clock of its own. */
class Stream {
  readonly clock = new SimulatedClock();
  readonly events: ReplicationEvent[] = [];
  fault: Fault | undefined;
  #session: Session | undefined;
  readonly #deps: SessionDeps;

  constructor(store: ObjectStore, change: Partial<SessionDeps> = {}) {
    const faulty = new FaultyStore(store, () => this.fault);
    const options = { database, replica: "unused", syncIntervalMs: 10 };
    const deps = makeSessionDeps(options, { store: faulty });
    this.#deps = {
      ...deps,
      impatientReplica: deps.replica,
      emit: (event) => this.events.push(event),
      now: () => this.clock.ms,
      nowMs: () => this.clock.ms,
      sleep: (ms, signal) => this.clock.sleep(ms, signal),
      Database: WatchedDatabase as never,
      ...change,
    };
  }

  get session(): Session {
    if (this.#session === undefined) throw new Error("it has not started");
    return this.#session;
  }

  async start(): Promise<void> {
    this.#session = await startSession(this.#deps, { kind: "table" }, new AbortController().signal);
  }

  /** Resolves when a pass that began after this call is over, whatever is stored. @throws what the pass threw. */
  async pass(): Promise<void> {
    const abort = new AbortController();
    const reason = new Error("the pass is over");
    const flushed = this.session.flush(abort.signal).catch((error: unknown) => {
      if (error !== reason) throw error;
    });
    abort.abort(reason);
    await flushed;
  }

  /** Lets time pass until everything is stored. */
  async flush(): Promise<Position> {
    let isDone = false;
    const flushed = this.session.flush(undefined).finally(() => {
      isDone = true;
    });
    flushed.catch(() => {});
    while (!isDone) {
      this.clock.advance(10_000);
      await nextTurn();
    }
    return flushed;
  }

  eventsOf<T extends ReplicationEvent["type"]>(type: T): Extract<ReplicationEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as never;
  }

  /** The next event of a type, while time passes. */
  async next(type: ReplicationEvent["type"]): Promise<void> {
    const { length } = this.events;
    while (!this.events.slice(length).some((event) => event.type === type)) {
      this.clock.advance(1_000);
      await nextTurn();
    }
  }
}

/** LTX files of the spool, as they lie on the disk. */
function spoolBytes(): number {
  return readdirSync(spoolDirectory(database), { recursive: true, withFileTypes: true })
    .filter(({ name }) => /(waiting|stored|[.]tmp)$/.test(name))
    .reduce((sum, { parentPath, name }) => {
      const size = statSync(join(parentPath, name), { throwIfNoEntry: false })?.size ?? 0;
      return sum + bytesOnDisk(size);
    }, 0);
}

/** The largest LTX file of so many pages: page header and size field, the page that does not compress, its entry in the index. */
function ltxBytesMax(pageCount: number, pageSize = 4096): number {
  return 200 + pageCount * (10 + blockBytesMax(pageSize) + 20);
}

/** What the store has: one chain of level-0 files from TXID 1 beside what was merged, and restored the database that the application left. */
async function expectStored(store: ObjectStore, { timeline, txid }: Position): Promise<void> {
  const root = { store, prefix: "", timelinesUnder: "" };
  const files = (await listTimeline(root, timeline)).level(0);
  expect(files.map(({ level, minTxid, maxTxid }) => ({ level, minTxid, maxTxid }))).toEqual(
    Array.from({ length: Number(txid) }, (_, index) => ({
      level: 0,
      minTxid: BigInt(index + 1),
      maxTxid: BigInt(index + 1),
    })),
  );
  const path = join(directory, "restored.db");
  await restoreDatabase({ root, path, timeline });
  expect(statSync(`${database}-wal`, { throwIfNoEntry: false })?.size ?? 0).toBe(0);
  expect(readFileSync(path).equals(readFileSync(database))).toBe(true);
}

async function storedChecksum(store: ObjectStore, { timeline, txid }: Position): Promise<unknown> {
  const root = { store, prefix: "", timelinesUnder: "" };
  return readRollingChecksumAt(root, await listTimeline(root, timeline), txid);
}

describe("a store that is away for seven days, under load", () => {
  const days = 7;
  const passesPerDay = 200;

  it("the spool keeps its bound, no writer is held off but by barriers, and then the chain has no gap", {
    timeout: 240_000,
  }, async () => {
    const store = new MemoryStore();
    const prng = createPrng(seed);
    const app = new Application(database, prng);
    app.insert(3_000);
    let bytesAtMerge = 0;
    let isUnderLoad = false;
    const stream = new Stream(store, {
      checkpointPolicy: { passiveFrames: 200, barrierBytes: 1 << 20 },
      at: (point) => {
        if (point === "merge-published") bytesAtMerge = Math.max(bytesAtMerge, spoolBytes());
        // The application goes on in the midst of captures, merges, checkpoints and barriers.
        if (isUnderLoad) app.change();
      },
    });
    await stream.start();
    await stream.flush();
    stream.fault = { kind: "error-before", code: "UNREACHABLE" };
    stream.events.length = 0;

    isUnderLoad = true;
    let bytesMax = 0;
    let early: Promise<Position> | undefined;
    for (let pass = 1; pass <= days * passesPerDay; pass += 1) {
      app.change();
      await stream.pass();
      if (pass % passesPerDay === 0) {
        while (!app.vacuum()) await nextTurn();
        await stream.pass();
      }
      if (pass === (days * passesPerDay) / 2) {
        // A process that dies without a word, and a start without the store.
        stream.session.close();
        await stream.start();
        expect(stream.session.status().epoch).toBeNull();
        early = stream.session.flush(undefined);
      }
      stream.clock.advance(86_400_000 / passesPerDay);
      bytesMax = Math.max(bytesMax, spoolBytes());
      const bound = spoolBytesMax(ltxBytesMax(app.pageCountMax));
      expect(bytesMax, `pass ${pass}`).toBeLessThanOrEqual(bound);
    }
    const fileBytesMax = ltxBytesMax(app.pageCountMax);
    expect(bytesAtMerge).toBeLessThanOrEqual(spoolBytesMax(fileBytesMax) + 2 * fileBytesMax);
    expect(stream.eventsOf("stored")).toEqual([]);
    const captured = stream.eventsOf("captured");
    const merges = stream.eventsOf("spool-merged");
    const capturedBytes = captured.reduce((sum, { bytes }) => sum + bytes, 0);
    // Else it would keep the bound without a merge.
    expect(capturedBytes).toBeGreaterThan(spoolBytesMax(fileBytesMax));
    expect(merges.length).toBeGreaterThan(2);

    const away = stream.session.status();
    expect(away.storeFailure?.code).toBe("UNREACHABLE");
    expect(stream.clock.ms - (away.waitingSinceMs ?? 0)).toBeGreaterThan((days - 1) * 86_400_000);

    isUnderLoad = false;
    while (stream.session.status().waitingFiles < 4) {
      app.insert(1);
      await stream.pass();
    }
    stream.fault = undefined;
    const flushed = await stream.flush();
    expect(flushed.txid).toBe(stream.eventsOf("stored").at(-1)?.txid);
    // Who has waited since the middle of it hears when and where the store has it, whatever its TXID was then.
    const position = (await early) as Position;
    expect(position.txid).toBeLessThan(flushed.txid);
    expect(await storedChecksum(store, position)).toBe(position.rollingChecksum);
    expect(stream.eventsOf("store-recovered")).toHaveLength(1);
    for (let change = 0; change < 5; change += 1) app.change();
    await stream.flush();
    while (!app.vacuum()) await nextTurn();
    app.close();
    const stopped = await stream.session.stop({ applicationEnded: true });
    expect(stopped.released).toBe(true);
    await expectStored(store, stopped.position as Position);

    expect(app.busyElsewhere).toBe(0);
    expect(app.busyBehindBarriers).toBeGreaterThan(0);
    const merged = merges.reduce((sum, { bytes }) => sum + bytes, 0);
    process.stderr.write(
      `${app.commits} commits, ${captured.length} captures of ${capturedBytes} bytes, ` +
        `${merges.length} merges wrote ${merged}; spool at most ${bytesMax}, at a merge ${bytesAtMerge}, ` +
        `of ${spoolBytesMax(fileBytesMax)}; ${app.busyBehindBarriers} attempts to commit met a barrier\n`,
    );
  });
});

/** Only root may mount a file system that is small enough to be filled. */
const mayMount = ((): boolean => {
  const point = mkdtempSync(join(tmpdir(), "mount-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "outage-test", point], {
      stdio: "ignore",
    });
    execFileSync("umount", [point]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(point, { recursive: true, force: true });
  }
})();
if (!mayMount) process.stderr.write("skipped: a full disk needs the right to mount a tmpfs\n");

/** A real file system that is full on request. */
class SmallDisk {
  readonly #path: string;

  constructor(path: string, bytes: number) {
    this.#path = path;
    mkdirSync(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "outage-test", path]);
    mounted.push(path);
  }

  /** Leaves room for so many bytes. */
  fill(bytesLeft = 0): void {
    const { bavail, bsize } = statfsSync(this.#path);
    writeFileSync(join(this.#path, "ballast"), Buffer.alloc(bavail * bsize - bytesLeft));
  }

  makeRoom(): void {
    rmSync(join(this.#path, "ballast"));
  }
}

describe.skipIf(!mayMount)("a full disk", () => {
  let app: Application;
  beforeEach(() => {
    app = new Application(database, createPrng(seed));
    app.insert(200);
  });

  /** Nothing was lost: what is stored in the end is what the application left. */
  async function end(stream: Stream, store: ObjectStore): Promise<void> {
    app.insert(1);
    await stream.flush();
    app.close();
    const { position } = await stream.session.stop({ applicationEnded: true });
    await expectStored(store, position as Position);
  }

  it("under the spool while a pass captures: it is said once, commits stay in the WAL, and the stream goes on when there is room", async () => {
    const disk = new SmallDisk(spoolDirectory(database), 8 << 20);
    const store = new MemoryStore();
    const stream = new Stream(store, {
      checkpointPolicy: { passiveFrames: 20, barrierBytes: 60 * 4120 },
    });
    await stream.start();
    await stream.flush();

    disk.fill();
    for (let failure = 0; failure < 3; failure += 1) {
      app.insert(100);
      await expect(stream.pass()).rejects.toMatchObject({ code: "SPOOL_FULL" });
    }
    expect(stream.eventsOf("spool-full")).toMatchObject([{ code: "SPOOL_FULL" }]);
    expect(
      readdirSync(spoolDirectory(database), { recursive: true, encoding: "utf8" }),
    ).not.toContainEqual(expect.stringContaining(".tmp"));
    // Far beyond what is checkpointed otherwise: nothing is moved that is not captured.
    expect(statSync(`${database}-wal`).size).toBeGreaterThan(100 * 4120);

    disk.makeRoom();
    await stream.next("spool-recovered");
    expect(stream.eventsOf("spool-recovered")).toHaveLength(1);
    await end(stream, store);
  });

  it("under the spool: the copies of stored files make room, which only save requests", async () => {
    const disk = new SmallDisk(spoolDirectory(database), 8 << 20);
    const store = new MemoryStore();
    const stream = new Stream(store);
    await stream.start();
    for (let file = 0; file < 20; file += 1) {
      app.insert(20);
      await stream.flush();
    }
    const stored = (): number =>
      readdirSync(spoolDirectory(database), { recursive: true, encoding: "utf8" }).filter((name) =>
        name.endsWith(".stored"),
      ).length;
    expect(stored()).toBe(21);
    disk.fill();
    app.insert(20);
    await expect(stream.pass()).rejects.toMatchObject({ code: "SPOOL_FULL" });
    await stream.next("spool-recovered");
    expect(stored()).toBeLessThanOrEqual(2);
    disk.makeRoom();
    await end(stream, store);
  });

  it("under the spool at the start: the first pass is tried again, too", async () => {
    const disk = new SmallDisk(spoolDirectory(database), 8 << 20);
    const store = new MemoryStore();
    const stream = new Stream(store);
    disk.fill(64 * 1024);
    await stream.start();
    await stream.next("spool-full");
    disk.makeRoom();
    await stream.next("spool-recovered");
    await end(stream, store);
  });

  it("under the spool while it merges: the files stay as they are, and are merged when there is room", async () => {
    const disk = new SmallDisk(spoolDirectory(database), 16 << 20);
    const store = new MemoryStore();
    const stream = new Stream(store);
    await stream.start();
    await stream.flush();
    stream.fault = { kind: "error-before", code: "UNREACHABLE" };
    // The temporary does not fit beside the files, which change one page or two each.
    for (let file = 0; file < 257; file += 1) {
      app.insert(1);
      await stream.pass();
    }
    expect(stream.session.status().waitingFiles).toBe(257);
    disk.fill(32 * 1024);
    app.insert(1);
    await expect(stream.pass()).rejects.toMatchObject({ code: "SPOOL_FULL" });
    expect(stream.session.status().waitingFiles).toBe(258);

    disk.makeRoom();
    await stream.next("spool-recovered");
    expect(stream.eventsOf("spool-merged")).toMatchObject([{ files: 257 }]);
    expect(stream.session.status().waitingFiles).toBe(2);
    stream.fault = undefined;
    await end(stream, store);
  });

  it("under a store that is a directory: it fails like any store that is away", async () => {
    const path = join(directory, "store");
    const disk = new SmallDisk(path, 16 << 20);
    const store = new DirectoryStore(path);
    const stream = new Stream(store);
    await stream.start();
    await stream.flush();
    disk.fill();
    app.insert(100);
    await stream.pass();
    await stream.next("store-failing");
    expect(stream.eventsOf("store-failing")).toMatchObject([{ code: "OUT_OF_SPACE" }]);
    disk.makeRoom();
    await end(stream, store);
    expect(stream.eventsOf("store-recovered")).toHaveLength(1);
  });
});
