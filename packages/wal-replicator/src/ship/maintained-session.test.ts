import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Fault,
  FaultyStore,
  MemoryStore,
  type StoreCall,
} from "@vaultwarden-stream/object-store";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ReplicationEvent } from "../events.ts";
import type { Txid } from "../ltx/txid.ts";
import { policyWithin } from "../maintain/policy-within.ts";
import { makeSessionDeps } from "../make-session-deps.ts";
import { takeEpoch } from "../replica/epoch.ts";
import { Fenced } from "../replica/lease.ts";
import { listTimeline, type ReplicaRoot } from "../replica/replica.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import type { ReplicateOptions } from "../replication.ts";
import { restoreDatabase } from "../restore/restore.ts";
import type { Session } from "./session.ts";
import type { SessionDeps } from "./session-deps.ts";
import { nextTurn, SimulatedClock } from "./session-testing.ts";
import { spoolDirectory } from "./spool.ts";
import { type SessionOrigin, startSession } from "./start-session.ts";

let directory: string;
let database: string;
let app: BetterSqlite3.Database;
const running = new Set<Session>();
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "maintained-"));
  database = join(directory, "app.db");
  app = new BetterSqlite3(database);
  app.pragma("journal_mode = WAL");
  app.pragma("synchronous = OFF");
  app.exec("CREATE TABLE item (id INTEGER PRIMARY KEY, content TEXT)");
});
afterEach(() => {
  for (const session of running) session.close();
  running.clear();
  app.close();
  rmSync(directory, { recursive: true, force: true });
});

const never = { intervalMs: Number.MAX_SAFE_INTEGER, settleMs: Number.MAX_SAFE_INTEGER };

/** A world with a store in memory, in which streams live one after the other. Every request is noted. */
class World {
  readonly clock = new SimulatedClock();
  readonly root: ReplicaRoot;
  readonly events: ReplicationEvent[] = [];
  /** `<operation> <kind of key>`, in order. */
  readonly requests: string[] = [];
  fault: (call: StoreCall) => Fault | undefined = () => undefined;
  /** The rolling checksum of each TXID that was flushed. */
  readonly checksums = new Map<Txid, string>();
  #session: Session | undefined;

  constructor() {
    const store = new MemoryStore({ now: () => new Date(this.clock.ms) });
    this.root = { store, prefix: "", timelinesUnder: "" };
  }

  get session(): Session {
    if (this.#session === undefined) throw new Error("it has not started");
    return this.#session;
  }

  async start(
    maintenance: ReplicateOptions["maintenance"] = {},
    origin: SessionOrigin = { kind: "table" },
    change: Partial<SessionDeps> = {},
  ): Promise<void> {
    const store = new FaultyStore(this.root.store, (call) => {
      this.requests.push(`${call.operation} ${kindOf(call.key)}`);
      return this.fault(call);
    });
    this.clock.sleepingMost = 0;
    const options = { database, replica: "unused", maintenance };
    const deps = makeSessionDeps(options, { store, sourceCheckPolicy: never });
    this.#session = await startSession(
      {
        ...deps,
        impatientReplica: deps.replica,
        emit: (event) => this.events.push(event),
        now: () => this.clock.ms,
        nowMs: () => this.clock.ms,
        sleep: (ms, signal) => this.clock.sleep(ms, signal),
        ...change,
      },
      origin,
      new AbortController().signal,
    );
    running.add(this.#session);
  }

  async stop(): Promise<void> {
    await this.session.stop({});
    running.delete(this.session);
  }

  /** As after a SIGKILL. */
  kill(): void {
    this.session.close();
    running.delete(this.session);
  }

  async commit(): Promise<Txid> {
    app.prepare("INSERT INTO item (content) VALUES (?)").run("x".repeat(200));
    const { txid, rollingChecksum } = await this.session.flush(undefined);
    this.checksums.set(txid, rollingChecksum);
    return txid;
  }

  /** One commit a second. */
  async commits(count: number): Promise<void> {
    for (let second = 0; second < count; second++) {
      this.clock.advance(1_000);
      await this.commit();
    }
    await this.quiet();
  }

  /** Lets time pass in steps, each once all work of the one before it is done. */
  async pass(ms: number, stepMs: number): Promise<void> {
    await this.quiet();
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advance(stepMs);
      await nextTurn();
      await this.waitFor(() => this.clock.sleeping >= this.clock.sleepingMost);
    }
  }

  /** Resolves when nothing has happened for a while of real time, and no merge is under way. */
  async quiet(): Promise<void> {
    const scratch = join(spoolDirectory(database), "maintenance");
    let seen = "";
    for (let calmSinceMs = performance.now(); performance.now() - calmSinceMs < 50; ) {
      const left = existsSync(scratch) ? readdirSync(scratch).length : 0;
      const now = `${this.requests.length} ${this.clock.sleeping}`;
      if (left > 0 || now !== seen) calmSinceMs = performance.now();
      seen = now;
      await nextTurn();
    }
  }

  /** Resolves once it is so, by what is under way: no time passes. */
  async waitFor(isSo: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + 20_000;
    while (!isSo()) {
      if (performance.now() > deadlineMs) throw new Error("it never came");
      await nextTurn();
    }
  }

  eventsOf<T extends ReplicationEvent["type"]>(type: T): Extract<ReplicationEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as never;
  }

  /** How often each kind of request came. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const request of this.requests) counts[request] = (counts[request] ?? 0) + 1;
    return counts;
  }

  async timeline() {
    return listTimeline(this.root, this.session.status().timeline);
  }

  /** Restores exactly a TXID that was flushed. */
  async expectRestores(txid: Txid): Promise<void> {
    const path = join(directory, `restored-${txid}.db`);
    const { timeline } = this.session.status();
    const result = await restoreDatabase({ root: this.root, path, timeline, txid });
    expect(result.rollingChecksum).toBe(this.checksums.get(txid));
    rmSync(path);
  }
}

function kindOf(key: string): string {
  const level = /\/000([0-9])\//.exec(key)?.[1];
  if (level !== undefined) return `level ${level}`;
  if (key.startsWith("epochs/")) return key.endsWith(".lease.json") ? "lease" : "epoch";
  return key.startsWith("proofs/") ? "proofs" : "timeline";
}

/** The last TXID of each file of a level. */
async function ends(world: World, level: number): Promise<Txid[]> {
  return (await world.timeline()).level(level).map(({ maxTxid }) => maxTxid);
}

describe("requests", () => {
  // In the sixtieth minute, retention looks for the lines of others.
  it("55 minutes of one commit a second: level 0, 122 merged files, their sources above level 0, and no listing", {
    timeout: 300_000,
  }, async () => {
    const world = new World();
    await world.start();
    await world.commit();
    await world.quiet();
    world.requests.length = 0;
    await world.commits(3_300);
    const counts = world.counts();
    const merged = [1, 2, 3].map((level) => counts[`putIfAbsent level ${level}`] ?? 0);
    expect(counts["putIfAbsent level 0"]).toBe(3_300);
    expect(merged[0]).toBeGreaterThanOrEqual(108);
    expect(merged[1]).toBeGreaterThanOrEqual(10);
    expect(merged.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(122);
    // Level 0 is read from the spool.
    const { "get level 1": level1 = 0, "get level 2": level2 = 0, ...others } = counts;
    expect(level1 + level2).toBeLessThanOrEqual(121);
    expect(Object.keys(others).sort()).toEqual([
      "get epoch",
      "put lease",
      "putIfAbsent level 0",
      "putIfAbsent level 1",
      "putIfAbsent level 2",
      ...(merged[2] === 0 ? [] : ["putIfAbsent level 3"]),
    ]);
    expect(counts["get epoch"]).toBeLessThanOrEqual(61);
    expect(counts["put lease"]).toBeLessThanOrEqual(61);
    for (const level of [1, 2]) {
      for (const txid of (await ends(world, level)).filter((_, index) => index % 7 === 0)) {
        await world.expectRestores(txid);
      }
    }
    await world.stop();
  });

  it("24 idle hours, once the work has drained: renewals and looks, and nothing else", {
    timeout: 120_000,
  }, async () => {
    const world = new World();
    await world.start();
    await world.commits(300);
    // Beyond the retention, a snapshot and the grace time.
    await world.pass(40 * 86_400_000, 3_600_000);
    // The base, and the newest file of each level.
    expect((await world.timeline()).files.length).toBe(5);
    world.requests.length = 0;
    await world.pass(86_400_000, 60_000);
    expect(world.counts()).toEqual({ "get epoch": 1_440, "put lease": 1_440 });
    await world.expectRestores((await world.timeline()).highestTxid as Txid);
  });

  it("the timeline is listed once, by the start; what an earlier life left is merged without it, and from its copies", async () => {
    const world = new World();
    await world.start();
    await world.commits(20);
    world.kill();
    world.requests.length = 0;
    await world.start();
    expect(world.counts()["list timeline"]).toBe(1);
    await world.quiet();
    world.clock.advance(120_000);
    await world.waitFor(() => world.eventsOf("compacted").length > 0);
    await world.quiet();
    expect(world.counts()).toMatchObject({ "list timeline": 1, "putIfAbsent level 1": 1 });
    expect(world.counts()["get level 0"]).toBeUndefined();
    const [end] = await ends(world, 1);
    await world.expectRestores(end as Txid);
  });
});

describe("copies of what is stored", () => {
  const stored = (): string[] =>
    readdirSync(spoolDirectory(database), { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith(".stored"),
    );

  it("are kept until level 1 covers them, and the newest file stays", async () => {
    const world = new World();
    await world.start();
    await world.commits(20);
    expect(stored()).toHaveLength(21);
    world.clock.advance(120_000);
    await world.waitFor(() => stored().length === 1);
    expect((await ends(world, 1)).at(-1)).toBe(21n);
  });

  it("are none where nothing is maintained", async () => {
    const world = new World();
    await world.start(false);
    await world.commits(20);
    expect(stored()).toHaveLength(1);
    world.clock.advance(120_000);
    await world.quiet();
    expect(await ends(world, 1)).toEqual([]);
    expect(world.session.status().maintenance).toBeUndefined();
  });

  it("that are gone are read from the store", async () => {
    const world = new World();
    await world.start();
    await world.commits(20);
    const timeline = join(spoolDirectory(database), world.session.status().timeline);
    for (const name of readdirSync(timeline)) rmSync(join(timeline, name));
    world.clock.advance(120_000);
    await world.waitFor(() => world.eventsOf("compacted").length > 0);
    await world.quiet();
    expect(world.counts()["get level 0"]).toBeGreaterThan(10);
    await world.expectRestores((await ends(world, 1)).at(-1) as Txid);
  });
});

describe("nothing waits for maintenance", () => {
  it("a merged file that the store does not take: commits are stored meanwhile, and the end comes at once", async () => {
    const world = new World();
    await world.start();
    await world.commits(10);
    world.fault = ({ key }) => (kindOf(key) === "level 1" ? { kind: "stall" } : undefined);
    world.clock.advance(120_000);
    await world.waitFor(() => world.requests.includes("putIfAbsent level 1"));
    for (let count = 0; count < 3; count++) await world.commit();
    const { released, waitingFiles } = await world.session.stop({});
    expect({ released, waitingFiles }).toEqual({ released: true, waitingFiles: 0 });
    running.delete(world.session);
    expect(readdirSync(join(spoolDirectory(database), "maintenance"))).toEqual([]);
    expect(world.eventsOf("maintenance-failing")).toEqual([]);
  });

  it("what fails is told once, is part of the status, and is tried again until it works", async () => {
    const world = new World();
    await world.start();
    await world.commits(10);
    world.fault = ({ key }) =>
      kindOf(key) === "level 1" ? { kind: "error-before", code: "FORBIDDEN" } : undefined;
    world.clock.advance(120_000);
    await world.waitFor(() => world.eventsOf("maintenance-failing").length > 0);
    await world.commits(3);
    const failure = { work: "compaction", level: 1, code: "FORBIDDEN" };
    expect(world.session.status().maintenance).toMatchObject({
      failures: [failure],
      lastCompactedAtMs: undefined,
    });
    world.fault = () => undefined;
    await world.pass(600_000, 60_000);
    await world.waitFor(() => world.eventsOf("maintenance-recovered").length > 0);
    expect(world.eventsOf("maintenance-failing")).toMatchObject([failure]);
    expect(world.session.status().maintenance?.failures).toEqual([]);
    expect(world.session.status().maintenance?.lastCompactedAtMs).toBeGreaterThan(0);
  });
});

describe("whose timeline it is", () => {
  it("once somebody has taken over, nothing is merged any more", async () => {
    const world = new World();
    await world.start();
    await world.commits(10);
    const ended = world.session.ended.catch((error: unknown) => error);
    await takeEpoch(world.root, { kind: "exclusive" }, (epoch) => ({
      version: 1,
      epoch,
      nonce: "f".repeat(32),
      kind: "writer",
      owner: { host: "h", pid: 1, installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" } },
      timeline: "00000002-ffffffff",
      parent: null,
      startedAt: "2026-01-01T00:00:00Z",
    }));
    // Nobody has heard of it yet: the answers to all looks are late.
    const answer = Promise.withResolvers<void>();
    world.fault = ({ key }) =>
      kindOf(key) === "epoch" ? { kind: "delay", wait: () => answer.promise } : undefined;
    world.clock.advance(120_000);
    const merged = join(spoolDirectory(database), "maintenance", "merged.tmp");
    await world.waitFor(() => existsSync(merged));
    for (let turn = 0; turn < 300; turn++) await nextTurn();
    answer.resolve();
    expect(await ended).toBeInstanceOf(Fenced);
    await world.quiet();
    expect(world.counts()["putIfAbsent level 1"]).toBeUndefined();
    running.delete(world.session);
  });

  it("a branch, which claims nothing, is left as it is, and keeps no copies", async () => {
    const world = new World();
    await world.start();
    await world.commits(3);
    world.kill();
    await world.start({}, { kind: "branch", because: "the test" });
    await world.commits(10);
    await world.pass(600_000, 60_000);
    await world.quiet();
    const { files } = await world.timeline();
    expect(new Set(files.map(({ level }) => level))).toEqual(new Set([0, snapshotLevel]));
    await expect(world.session.snapshot(undefined)).rejects.toMatchObject({
      code: "OPTIONS_CONFLICT",
    });
  });

  it("after a start without the store it begins with the epoch, and knows what is there", async () => {
    const world = new World();
    await world.start();
    await world.commits(10);
    world.kill();
    world.fault = () => ({ kind: "error-before", code: "UNREACHABLE" });
    await world.start();
    await world.pass(120_000, 10_000);
    expect(world.eventsOf("epoch-taken")).toEqual([]);
    world.fault = () => undefined;
    await world.pass(60_000, 5_000);
    await world.waitFor(() => world.eventsOf("compacted").length > 0);
    expect(world.eventsOf("epoch-taken")).toHaveLength(1);
    expect((await world.timeline()).level(1)).toMatchObject([{ minTxid: 2n }]);
  });
});

describe("snapshots", () => {
  it("are made when they are asked for, of all that was committed, once for each state", async () => {
    const world = new World();
    await world.start();
    await world.commits(10);
    app.exec("INSERT INTO item (content) VALUES ('last')");
    const position = await world.session.snapshot(undefined);
    world.checksums.set(position.txid, position.rollingChecksum);
    expect((await world.timeline()).level(snapshotLevel)).toMatchObject([
      { minTxid: 1n, maxTxid: position.txid },
    ]);
    await world.expectRestores(position.txid);
    expect(await world.session.snapshot(undefined)).toEqual(position);
    expect(world.counts()["putIfAbsent level 9"]).toBe(1);
    expect(world.session.status().maintenance?.lastSnapshotAtMs).toBe(world.clock.ms);
  });

  it("that are asked for end with the stream, or when nobody waits any more", async () => {
    const world = new World();
    await world.start();
    await world.commits(3);
    world.fault = ({ key }) => (kindOf(key) === "level 9" ? { kind: "stall" } : undefined);
    const reason = new Error("enough");
    const abort = new AbortController();
    const impatient = world.session.snapshot(abort.signal);
    const patient = world.session.snapshot(undefined).catch((error: unknown) => error);
    await world.waitFor(() => world.requests.includes("putIfAbsent level 9"));
    abort.abort(reason);
    await expect(impatient).rejects.toBe(reason);
    await world.stop();
    expect(await patient).toMatchObject({ code: "STOPPED" });
  });

  it("are made by the policy, and beyond the retention nothing stays", {
    timeout: 120_000,
  }, async () => {
    const world = new World();
    const hourMs = 3_600_000;
    await world.start({
      ...policyWithin({ retentionMs: 6 * hourMs, snapshotIntervalMs: hourMs }),
      graceMs: 600_000,
    });
    for (let hour = 0; hour < 20; hour++) {
      for (let count = 0; count < 5; count++) {
        app.exec(`UPDATE item SET content = hex(randomblob(500)) WHERE id % 5 = ${count}`);
        await world.commit();
        world.clock.advance(60_000);
      }
      await world.pass(hourMs - 300_000, 300_000);
      await world.quiet();
    }
    const snapshots = await ends(world, snapshotLevel);
    expect(world.eventsOf("snapshot-stored").length).toBeGreaterThan(10);
    // Six hours of them, the one in force before, and one an interval.
    expect(snapshots.length).toBeGreaterThan(4);
    expect(snapshots.length).toBeLessThan(10);
    for (const txid of snapshots) await world.expectRestores(txid);
    const { files } = await world.timeline();
    const oldest = Math.min(...files.map(({ createdAt }) => createdAt.getTime()));
    expect(world.clock.ms - oldest).toBeLessThan(9 * hourMs);
    expect(world.eventsOf("maintenance-failing")).toEqual([]);
    expect(world.eventsOf("retention-held")).toEqual([]);
  });
});
