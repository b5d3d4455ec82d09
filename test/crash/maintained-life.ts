import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { listReplica, type Position, restore, spoolDirectory, type Txid } from "wal-replicator";
import {
  lineOf,
  listTimeline,
  type MaintenancePolicy,
  offeredInstants,
  type ReplicaFile,
  type TimelineFiles,
} from "wal-replicator/internals";
import { type Engine, EngineError, startEngine } from "../support/engine.ts";
import { commitLabel, rowSchema } from "../writers/row-database.ts";

/** Levels, snapshots and retention of thirty days, in about ten seconds. */
export const quickPolicy: MaintenancePolicy = {
  levelIntervalsMs: [200, 1_000],
  keepMs: [1_000, 4_000, 20_000],
  snapshotIntervalMs: 300,
  snapshotAtLeastMs: 1_000,
  snapshotGrowth: 0.01,
  graceMs: 2_000,
};

const flushesMax = 2_000;

/**
 * A database whose stream is maintained at a speed at which a few seconds see everything, through lives that end by SIGKILL.
 *
 * The law, after each of them: what the policy offers restores, and is what the database was when that TXID was confirmed; levels have neither gaps nor
 * overlaps, and end where files of the level below ended.
 */
export class MaintainedLife implements AsyncDisposable {
  readonly prng: Prng;
  readonly database: string;
  readonly replica: string;
  readonly #directory: string;
  readonly #policy: MaintenancePolicy;
  #app: Database.Database;
  #labels = 0;
  /** Rolling checksums of what was confirmed, by timeline and TXID. */
  readonly #confirmed = new Map<string, string>();
  #newest: Position | undefined;
  #engine: Engine | undefined;

  constructor(seed: number, policy: MaintenancePolicy = quickPolicy) {
    this.prng = createPrng(seed);
    this.#policy = policy;
    this.#directory = mkdtempSync(join(tmpdir(), `maintained-${seed}-`));
    this.database = join(this.#directory, "app.db");
    this.replica = join(this.#directory, "replica");
    this.#app = this.#open();
    this.#app.exec(rowSchema);
  }

  get engine(): Engine {
    if (this.#engine === undefined) throw new Error("no engine runs");
    return this.#engine;
  }

  get newest(): Position {
    if (this.#newest === undefined) throw new Error("nothing is confirmed");
    return this.#newest;
  }

  /** @returns whether it streams: else the crash point was hit in the start. */
  async start(
    point: { readonly crashAt?: string; readonly crashNth?: number } = {},
  ): Promise<boolean> {
    try {
      this.#engine = await startEngine({
        database: this.database,
        replica: this.replica,
        syncIntervalMs: 1,
        maintenance: this.#policy,
        ...point,
      });
      return true;
    } catch (error) {
      return rethrowUnlessCrashed(error);
    }
  }

  /** Commits and confirms one by one, with a snapshot now and then. @returns whether the engine was killed by it. */
  async live(flushes: number): Promise<boolean> {
    try {
      for (let count = 1; count <= flushes; count++) {
        commitLabel(this.#app, `W-${this.#labels}`);
        this.#labels += 1;
        this.#note(await this.engine.flush());
        if (count % 25 === 0) this.#note(await this.engine.snapshot());
        await delay(this.prng.integer(0, 15));
      }
      return false;
    } catch (error) {
      return !rethrowUnlessCrashed(error);
    }
  }

  /** @returns whether the engine was killed. */
  async liveUntilKilled(): Promise<boolean> {
    return this.live(flushesMax);
  }

  /** Resolves when level 1 has come beyond a TXID: whatever was left undone before it is done. */
  async mergedBeyond(txid: Txid): Promise<void> {
    for (let attempt = 0; attempt < 400; attempt++) {
      const timeline = this.newest.timeline;
      const ends = (await this.#list(timeline)).filter(({ level }) => level === 1);
      if (ends.some(({ maxTxid }) => maxTxid > txid)) return;
      await this.live(1);
    }
    throw new Error(`nothing was merged beyond ${txid}`);
  }

  async kill(): Promise<void> {
    await this.#engine?.kill();
    this.#engine = undefined;
  }

  /** Stops the engine, and restores the database in its place to a TXID: the next start begins a timeline there. */
  async rewind(to: Position): Promise<void> {
    await this.engine.stop(false);
    this.#engine = undefined;
    this.#app.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(this.database + suffix, { force: true });
    await restore({ replica: this.replica, target: this.database, ...to, overwrite: true });
    this.#app = this.#open();
  }

  /** What the store has after a kill, held against the law. @returns how many confirmed states it offers. */
  async check(): Promise<number> {
    const { timeline } = this.newest;
    const { timelines } = await listReplica({ replica: this.replica });
    const lines = new Map<string, TimelineFiles>();
    for (const { timeline: name, parent } of timelines) {
      const files = await this.#list(name);
      expectNoOverlap(files);
      lines.set(name, { timeline: name, parent, files });
    }
    const offered = offeredInstants(lineOf(timeline, lines), this.#policy, Date.now())
      .map((instant) => ({ ...instant, checksum: this.#confirmed.get(keyOf(instant)) }))
      .filter(({ checksum }) => checksum !== undefined);
    if (!offered.some(({ txid }) => txid === this.newest.txid)) {
      throw new Error(`the newest confirmed TXID ${this.newest.txid} is not offered`);
    }
    const tried = new Set([offered[0], offered.at(-1)]);
    while (tried.size < Math.min(8, offered.length)) tried.add(this.prng.pick(offered));
    for (const instant of tried) {
      if (instant !== undefined)
        await this.expectRestores({ timeline, txid: instant.txid }, instant.checksum);
    }
    return offered.length;
  }

  /** That no unfinished work lies in the spool of a stopped engine. */
  async stop(): Promise<void> {
    await this.engine.stop(false);
    this.#engine = undefined;
    const left = readdirSync(spoolDirectory(this.database), { recursive: true, encoding: "utf8" });
    const unfinished = left.filter((name) => name.endsWith(".tmp"));
    if (unfinished.length > 0) throw new Error(`left in the spool: ${unfinished.join(", ")}`);
  }

  /** Files of a timeline. */
  async files(timeline: string): Promise<readonly ReplicaFile[]> {
    return this.#list(timeline);
  }

  #open(): Database.Database {
    const app = new Database(this.database, { timeout: 20_000 });
    app.pragma("journal_mode = wal");
    app.pragma("synchronous = off");
    return app;
  }

  #note(position: Position): void {
    this.#newest = position;
    this.#confirmed.set(keyOf(position), position.rollingChecksum);
  }

  async #list(timeline: string): Promise<readonly ReplicaFile[]> {
    const store = new DirectoryStore(this.replica);
    return (await listTimeline({ store, prefix: "", timelinesUnder: "" }, timeline)).files;
  }

  /** Restores a confirmed state, and holds it against what the engine said of it. */
  async expectRestores(
    { timeline, txid }: Pick<Position, "timeline" | "txid">,
    checksum: string | undefined = this.#confirmed.get(keyOf({ timeline, txid })),
  ): Promise<void> {
    const target = join(this.#directory, "restored.db");
    const { rollingChecksum } = await restore({
      replica: this.replica,
      target,
      timeline,
      txid,
      overwrite: existsSync(target),
    });
    rmSync(spoolDirectory(target), { recursive: true, force: true });
    if (rollingChecksum === checksum) return;
    throw new Error(`TXID ${txid} restored to ${rollingChecksum}, and was ${checksum}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#app.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function keyOf({ timeline, txid }: { readonly timeline: string; readonly txid: Txid }): string {
  return `${timeline} ${txid}`;
}

function expectNoOverlap(files: readonly ReplicaFile[]): void {
  for (const [index, file] of files.entries()) {
    const before = files[index - 1];
    if (before === undefined || before.level !== file.level || file.level === 9) continue;
    if (file.minTxid <= before.maxTxid) throw new Error(`${file.key} overlaps ${before.key}`);
  }
}

/** @returns false. */
function rethrowUnlessCrashed(error: unknown): false {
  if (!(error instanceof EngineError) || error.code !== "CRASHED") throw error;
  return false;
}
