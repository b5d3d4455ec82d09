import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ObjectStoreError, type StoreCall } from "@vaultwarden-stream/object-store";
import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import { ReplicaError } from "wal-replicator";
import {
  type EpochMode,
  type EpochRecord,
  formatTimelineName,
  type MaintenanceEvent,
  type RetentionEvent,
  restoreDatabase,
  takeEpoch,
  toTxid,
} from "wal-replicator/internals";
import { Daemon, type Machine, prefix, rootOf, timelinesUnder } from "./daemon.ts";
import { Laws } from "./laws.ts";
import { applyFiles, Ledger, type LedgerFile } from "./ledger.ts";
import { Line } from "./line.ts";
import { type Beginning, VaultMachine, type World } from "./machine.ts";
import { hashPages, pageSize, readPageId, sameHash } from "./model-database.ts";
import { Promises } from "./promises.ts";
import { LawBroken, type Position, Referee } from "./referee.ts";
import { RestoreIndex } from "./restore-index.ts";
import { beginMs, type Scenario, type Trouble } from "./scenario.ts";
import {
  type Asker,
  draw,
  type RequestCounts,
  troubledStore,
  type Weather,
} from "./troubled-store.ts";
import { day, hour, minute, second, VirtualClock } from "./virtual-clock.ts";
import { WatchedStore } from "./watched-store.ts";
import { Workload } from "./workload.ts";

/** What a run did, to be sure that it did something. */
export interface SimulationResult {
  readonly commits: number;
  readonly steps: number;
  readonly checks: number;
  readonly restores: number;
  readonly lives: number;
  readonly timelines: number;
  readonly deletes: number;
  readonly bytes: number;
  readonly objects: number;
  readonly events: Readonly<Record<string, number>>;
}

/** Ends what a process is doing. */
class Killed extends Error {
  override readonly name = "Killed";
  /** For `isFatal`. */
  readonly code = "KILLED";
}

/** One process life's own: it dies with it. */
interface Life {
  readonly daemon: Daemon;
  readonly state: { isDead: boolean };
}

/** How a process begins. */
interface Begun {
  readonly parent: { readonly line: Line; readonly txid: number } | undefined;
  /** In a timeline of its own; else in the machine's. */
  readonly isNew: boolean;
}

const never = Number.POSITIVE_INFINITY;

/**
 * A vault's life by a virtual clock: commits, troubles, and the engine's own maintenance over a store in memory, with a referee who looks after
 * each step. The same seed is the same life.
 */
export class Simulation implements Disposable {
  readonly #scenario: Scenario;
  readonly #clock = new VirtualClock(beginMs);
  readonly #weather: Weather = { isAway: false, isAppendOnly: false, failingShare: 0 };
  readonly #world: World;
  readonly #troublePrng: Prng;
  readonly #workload: Workload;
  readonly #ledger: Ledger;
  readonly #store: WatchedStore;
  readonly #referee: Referee;
  readonly #laws: Laws;
  readonly #promises: Promises;
  readonly #lines = new Map<string, Line>();
  readonly #counts: RequestCounts = new Map();
  readonly #directory: string;
  readonly #events: Record<string, number> = {};
  #machine: VaultMachine;
  #life: Life | undefined;
  /** Who is to be started, and how; undefined: nobody. */
  #start: Begun | undefined;
  #proven: Position["proven"];
  #canDrill = true;
  #killAfter = never;
  /** Of the step that is under way. */
  #requests = 0;
  #lastSeenMs = beginMs;
  #checkedChanges = 0;
  #checkedMs = beginMs;
  readonly #due = {
    commit: beginMs,
    ship: never,
    step: never,
    files: never,
    prune: never,
    drill: never,
    base: never,
    start: beginMs,
  };
  #troublesDone = 0;
  readonly #endings: { readonly atMs: number; readonly end: () => void }[] = [];
  #commits = 0;
  #steps = 0;
  #checks = 0;
  #lives = 0;
  #deletes = 0;

  constructor(scenario: Scenario) {
    const { seed, policy, density, listsTimestamps } = scenario;
    this.#scenario = scenario;
    const clock = this.#clock;
    let pageId = 0;
    this.#world = {
      clock,
      prng: createPrng((seed ^ 0x5bd1_e995) >>> 0),
      contents: new Map(),
      nextPageId: () => (pageId += 1),
    };
    this.#troublePrng = createPrng((seed ^ 0x27d4_eb2f) >>> 0);
    this.#workload = new Workload(createPrng((seed ^ 0x1656_67b1) >>> 0), density);
    this.#promises = new Promises(beginMs, policy);
    this.#laws = new Laws({
      clock,
      lines: this.#lines,
      promises: this.#promises,
      listsTimestamps,
      pruneEveryMs: this.#pruneEveryMs,
    });
    this.#ledger = new Ledger({
      timelinesPrefix: `${prefix}${timelinesUnder}`,
      listsTimestamps,
      nowMs: () => clock.nowMs,
      captured: ({ timeline, max }) => (this.#lines.get(timeline) as Line).state(max).change,
      onStored: (file) => {
        if (process.env["DBG"])
          console.log(this.now, "put", file.key, new Date(file.timestampMs).toISOString());
        this.#laws.stored(file);
      },
      onDeleted: (file) => {
        this.#deletes += 1;
        if (process.env["DBG"]) console.log(this.now, "del", file.key);
        this.#laws.deleted(file);
      },
      onManifestDeleted: (ref) => this.#laws.manifestDeleted(ref, this.#ledger.files),
    });
    this.#store = new WatchedStore(clock, this.#ledger, listsTimestamps);
    this.#referee = new Referee(this.#ledger, createPrng((seed ^ 0x7feb_352d) >>> 0));
    this.#directory = mkdtempSync(join(tmpdir(), "maintenance-"));
    this.#machine = new VaultMachine(this.#world, new Line("unborn"));
    this.#start = { parent: undefined, isNew: true };
    this.#due.drill = beginMs + this.#scaled(day);
    this.#due.prune = beginMs + this.#pruneEveryMs;
  }

  /** By the store's clock. */
  get now(): string {
    return new Date(this.#clock.nowMs).toISOString();
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** @throws {LawBroken}, and whatever the engine throws that nobody expected. */
  async run(): Promise<SimulationResult> {
    const endMs = beginMs + this.#scenario.days * day;
    const { troubles } = this.#scenario;
    for (;;) {
      const trouble = troubles[this.#troublesDone];
      const nextMs = Math.min(
        ...Object.values(this.#due),
        trouble?.atMs ?? never,
        ...this.#endings.map(({ atMs }) => atMs),
      );
      if (nextMs >= endMs) break;
      this.#clock.advanceTo(nextMs);
      this.#seeClock();
      this.#endTroubles();
      if (trouble !== undefined && trouble.atMs <= this.#clock.nowMs) {
        this.#troublesDone += 1;
        await this.#begin(trouble);
      }
      await this.#act();
      this.#judge();
    }
    await this.#finish();
    return {
      commits: this.#commits,
      steps: this.#steps,
      checks: this.#checks,
      restores: this.#referee.restores,
      lives: this.#lives,
      timelines: this.#lines.size,
      deletes: this.#deletes,
      bytes: this.#ledger.bytes,
      objects: this.#ledger.objectCount,
      events: this.#events,
    };
  }

  /** All that is due now, each thing once. */
  async #act(): Promise<void> {
    const due = this.#due;
    const isDue = (name: keyof typeof due): boolean => {
      if (due[name] > this.#clock.nowMs) return false;
      due[name] = never;
      return true;
    };
    if (isDue("start")) await this.#startDaemon();
    if (isDue("commit")) this.#commit();
    if (isDue("ship")) await this.#ship();
    if (isDue("files")) await this.#pushFiles();
    if (isDue("base")) await this.#storeBase();
    if (isDue("step")) await this.#step();
    if (isDue("drill")) await this.#drill();
    if (isDue("prune")) await this.#prune();
  }

  #commit(): void {
    this.#machine.commit();
    this.#commits += 1;
    const { nowMs } = this.#clock;
    this.#due.commit = this.#workload.nextMs(nowMs);
    this.#due.files = Math.min(this.#due.files, this.#machine.vault.nextChangeMs);
    this.#due.ship = nowMs;
  }

  async #ship(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    const before = this.#machine.storedTxid;
    const isAll = await this.#alive(() => life.daemon.ship());
    const { nowMs } = this.#clock;
    if (isAll === false) this.#due.ship = nowMs + this.#troublePrng.integer(1, 20) * second;
    if (this.#machine.storedTxid > before) {
      // As the session: nothing can be due because of a new file before its window ends.
      const [intervalMs = second] = this.#promises.current.levelIntervalsMs;
      const windowEndMs = (Math.floor(nowMs / intervalMs) + 1) * intervalMs;
      this.#due.step = Math.min(this.#due.step, windowEndMs);
    }
  }

  async #pushFiles(): Promise<void> {
    const { vault } = this.#machine;
    const { nowMs } = this.#clock;
    vault.settle(nowMs);
    this.#due.files = vault.nextChangeMs;
    const life = this.#life;
    if (life === undefined) return;
    const isDone = await this.#alive(async () => {
      await life.daemon.pushFiles();
      return true;
    });
    if (isDone !== true) this.#due.files = Math.min(this.#due.files, nowMs + minute);
  }

  async #storeBase(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    const isDone = await this.#alive(() => life.daemon.storeBase());
    if (isDone !== true) this.#due.base = this.#clock.nowMs + minute;
  }

  async #step(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#steps += 1;
    this.#requests = 0;
    const nextMs = await this.#alive(() => life.daemon.maintain());
    const { nowMs, engineMs } = this.#clock;
    // Infinity: a new file wakes it.
    if (nextMs !== undefined) this.#due.step = Math.max(nowMs + second, nowMs + nextMs - engineMs);
  }

  /** The newest state, proved by a restore: mostly as the referee does it, sometimes as the engine does. */
  async #drill(): Promise<void> {
    this.#due.drill = this.#clock.nowMs + this.#scaled(day);
    if (!this.#canDrill || this.#weather.isAway || this.#machine.storedTxid === 0) return;
    const head = this.#machine.line;
    const plan = new RestoreIndex(this.#ledger, head).plan({ upToTxid: this.#machine.storedTxid });
    if (plan === undefined) return;
    const { max } = plan.at(-1) as LedgerFile;
    const { line } = [...head.lineage()].find(({ line: { first } }) => first <= max) ?? {};
    if (line === undefined) return;
    this.#proven = { line, txid: max };
    const isDense = this.#scenario.density === "dense";
    if (isDense || this.#troublePrng.chance(0.05)) await this.#restore(line, max);
  }

  /** By the engine: plan, files, checksums, and all. */
  async #restore(line: Line, txid: number): Promise<void> {
    const path = join(this.#directory, "restored");
    const root = rootOf(this.#store);
    const target = { timeline: line.name, txid: toTxid(txid), overwrite: true };
    const options = { root, path, ...target, skipIntegrityCheck: true };
    const { isRollingChecksumProved } = await restoreDatabase(options);
    const bytes = readFileSync(path);
    const ids = Array.from({ length: bytes.length / pageSize }, (_, index) =>
      readPageId(bytes.subarray(index * pageSize, (index + 1) * pageSize)),
    );
    if (!isRollingChecksumProved || !sameHash(hashPages(ids), line.state(txid).hash)) {
      throw new LawBroken(`the engine's restore of TXID ${txid} of ${line.name} is not what was`);
    }
  }

  async #prune(): Promise<void> {
    this.#due.prune = this.#clock.nowMs + this.#pruneEveryMs;
    const life = this.#life;
    if (life === undefined) return;
    const result = await this.#alive(() => life.daemon.pruneFiles());
    this.#count(`pruned:${result?.stopped?.reason ?? (result === undefined ? "failed" : "done")}`);
  }

  /** Runs a part of the process's work. @returns undefined if it died of it, or the store failed it. */
  async #alive<T>(work: () => Promise<T>): Promise<T | undefined> {
    const life = this.#life as Life;
    try {
      return await work();
    } catch (error) {
      if (!life.state.isDead && !(error instanceof ObjectStoreError) && !isExpected(error))
        throw error;
      return undefined;
    } finally {
      if (life.state.isDead && this.#life === life) this.#restart();
    }
  }

  async #begin(trouble: Trouble): Promise<void> {
    this.#count(`trouble:${trouble.kind}`);
    const weather = this.#weather;
    const { nowMs } = this.#clock;
    if ("endMs" in trouble) this.#laws.disturb(trouble.kind, nowMs, trouble.endMs);
    else this.#laws.disturb(trouble.kind, nowMs, nowMs);
    const until = (endMs: number, end: () => void): void =>
      void this.#endings.push({ atMs: endMs, end });
    switch (trouble.kind) {
      case "outage":
        weather.isAway = true;
        return until(trouble.endMs, () => {
          weather.isAway = false;
        });
      case "flaky":
        weather.failingShare = trouble.share;
        return until(trouble.endMs, () => {
          weather.failingShare = 0;
        });
      case "append-only":
        weather.isAppendOnly = true;
        return until(trouble.endMs, () => {
          weather.isAppendOnly = false;
        });
      case "skew":
        this.#clock.setSkew(trouble.skewMs);
        this.#lastSeenMs = nowMs;
        return until(trouble.endMs, () => {
          this.#clock.setSkew(0);
          this.#lastSeenMs = this.#clock.nowMs;
        });
      case "no-drill":
        this.#canDrill = false;
        return until(trouble.endMs, () => {
          this.#canDrill = true;
        });
      case "restart":
        if (!trouble.isKilled) return this.#restart();
        this.#killAfter = this.#troublePrng.integer(1, 30);
        return;
      case "failover":
        return this.#moveTo(this.#reachableBefore(this.#machine.storedTxid - trouble.lostCommits));
      case "restore-back":
        return this.#moveTo(this.#reachableAt(nowMs - trouble.backMs));
      case "branch":
        return await this.#storeBranch(trouble.commits);
      case "policy":
        this.#promises.change(nowMs, trouble.policy);
        this.#ledger.forgetReads();
        return this.#restart();
    }
  }

  #endTroubles(): void {
    for (const ending of this.#endings.filter(({ atMs }) => atMs <= this.#clock.nowMs)) {
      this.#endings.splice(this.#endings.indexOf(ending), 1);
      ending.end();
    }
  }

  /** The process is gone, and comes back in a moment. */
  #restart(): void {
    this.#killAfter = never;
    if (this.#life !== undefined) this.#life.state.isDead = true;
    this.#life = undefined;
    if (this.#start === undefined) {
      const { line, storedTxid } = this.#machine;
      const { isDetected } = this.#scenario;
      this.#start = {
        parent: isDetected ? { line, txid: storedTxid } : line.parent,
        isNew: isDetected,
      };
      // Nothing was stored in it: the line goes on with its parent's.
      if (isDetected && storedTxid < line.first) this.#start = { parent: line.parent, isNew: true };
    }
    this.#due.step = never;
    this.#due.base = never;
    this.#due.start = this.#clock.nowMs + this.#troublePrng.integer(1, 90) * second;
  }

  /** Another machine, or this one after a restore: it begins where that plan ends, in a timeline of its own. */
  #moveTo(plan: readonly LedgerFile[] | undefined): void {
    const last = plan?.at(-1);
    if (plan === undefined || last === undefined || this.#machine.storedTxid === 0) return;
    const from = this.#machine.line;
    const part = [...from.lineage()].find(({ line }) => line.first <= last.max);
    if (part === undefined) return;
    const state = from.state(last.max);
    const tree = this.#ledger.files.filesAt(from, last.createdAt.getTime(), state.rows, true);
    const newest = from.state(from.last);
    const begin: Beginning = {
      pages: applyFiles(plan),
      tree,
      rows: state.rows,
      timestampMsMin: newest.timestampMs,
    };
    const parent = { line: part.line, txid: last.max };
    // Its name comes with its epoch.
    this.#machine = new VaultMachine(this.#world, new Line("unborn", parent), begin);
    this.#start = { parent, isNew: true };
    this.#due.files = this.#clock.nowMs + minute;
    this.#restart();
  }

  #reachableBefore(txid: number): readonly LedgerFile[] | undefined {
    return new RestoreIndex(this.#ledger, this.#machine.line).plan({ upToTxid: Math.max(1, txid) });
  }

  #reachableAt(beforeMs: number): readonly LedgerFile[] | undefined {
    return new RestoreIndex(this.#ledger, this.#machine.line).plan({ beforeMs });
  }

  async #startDaemon(): Promise<void> {
    const start = this.#start;
    if (start === undefined) return;
    const state = { isDead: false };
    const { isDetected, keepsCopies } = this.#scenario;
    const mode: EpochMode = isDetected
      ? { kind: "detected", alsoPlain: true }
      : { kind: "exclusive" };
    const counts = this.#counts;
    const storeFor = (asker: Asker) =>
      troubledStore(this.#store, asker, {
        seed: this.#scenario.seed,
        clock: this.#clock,
        weather: this.#weather,
        counts,
        before: (who, call) => this.#before(who, call),
        isDead: () => state.isDead,
      });
    try {
      const record = await takeEpoch(rootOf(storeFor("start")), mode, (epoch) =>
        this.#makeRecord(epoch, start),
      );
      if (start.isNew) this.#enter(record, start.parent);
      const directory = join(this.#directory, String(this.#lives));
      mkdirSync(directory, { recursive: true });
      const stores = new Map<Asker, ReturnType<typeof storeFor>>();
      const daemon = await Daemon.start({
        machine: this.#machine,
        record,
        mode,
        storeFor: (asker) => {
          const known = stores.get(asker) ?? storeFor(asker);
          stores.set(asker, known);
          return known;
        },
        policy: this.#promises.current,
        clock: this.#clock,
        directory,
        keepsCopies,
        proven: () =>
          this.#proven === undefined
            ? []
            : [{ timeline: this.#proven.line.name, txid: this.#proven.txid }],
        emit: (event) => this.#hear(event),
        at: (point) => this.#at(point, state),
      });
      this.#life = { daemon, state };
      this.#lives += 1;
      this.#start = undefined;
    } catch (error) {
      if (!(error instanceof ObjectStoreError) && !isExpected(error)) throw error;
      // What was taken is taken; the next attempt takes the next one.
      this.#due.start = this.#clock.nowMs + minute;
      return;
    }
    const { nowMs } = this.#clock;
    this.#due.ship = nowMs;
    this.#due.step = nowMs;
    this.#due.files = Math.min(this.#due.files, nowMs + 5 * second);
    const needsBase =
      this.#machine.line.parent !== undefined &&
      (this.#ledger.levels(this.#machine.line.name).get(9)?.length ?? 0) === 0;
    if (needsBase) {
      const isLate = this.#troublePrng.chance(0.3);
      this.#due.base =
        nowMs + (isLate ? this.#scaled(this.#troublePrng.integer(1, 36) * hour) : 20 * second);
    }
  }

  /** The machine's timeline has a name now. */
  #enter(
    { timeline }: EpochRecord,
    parent: { readonly line: Line; readonly txid: number } | undefined,
  ): void {
    const line = new Line(timeline, parent);
    this.#lines.set(timeline, line);
    this.#machine.branchTo(line);
    this.#laws.head = line;
  }

  #makeRecord(epoch: number, { parent, isNew }: Begun): Omit<EpochRecord, "keyedByNonce"> {
    const nonce = Array.from({ length: 4 }, (_, index) =>
      Math.floor(draw(this.#scenario.seed, `nonce ${epoch} ${index}`) * 2 ** 32)
        .toString(16)
        .padStart(8, "0"),
    ).join("");
    return {
      version: 1,
      epoch,
      nonce,
      kind: "writer",
      owner: {
        host: "simulated",
        pid: 1,
        installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" },
      },
      timeline: isNew ? formatTimelineName(epoch, nonce) : this.#machine.line.name,
      parent:
        parent === undefined ? null : { timeline: parent.line.name, txid: toTxid(parent.txid) },
      startedAt: new Date(this.#clock.machineMs).toISOString(),
    };
  }

  /** What happens right before a request of the process arrives: time passes, somebody commits, the process dies. */
  #before(asker: Asker, { operation, key, nth }: StoreCall): Promise<void> | undefined {
    if (asker !== "maintain" && asker !== "retain") return undefined;
    const life = this.#life;
    if (life === undefined) return undefined;
    this.#requests += 1;
    if (this.#requests > requestsMax[this.#scenario.density]) {
      life.state.isDead = true;
      this.#ledger.problems.push(`a step does not come to an end: ${operation} ${key}`);
      return undefined;
    }
    if (this.#killAfter !== never) {
      this.#killAfter -= 1;
      if (this.#killAfter <= 0) {
        this.#killAfter = never;
        life.state.isDead = true;
        // Half of them arrive all the same.
        if (this.#troublePrng.chance(0.5))
          return Promise.reject(new Killed("killed before a request"));
        return undefined;
      }
    }
    // Sources are read side by side, in an order that is the event loop's: nothing may depend on it.
    if (operation === "get") return undefined;
    if (draw(this.#scenario.seed, `slow ${operation} ${key} ${nth}`) > 0.01) return undefined;
    return this.#meanwhile();
  }

  async #meanwhile(): Promise<void> {
    this.#clock.advanceTo(this.#clock.nowMs + 700);
    if (this.#machine.line.last === 0) return;
    this.#machine.commit();
    this.#commits += 1;
    this.#due.ship = this.#clock.nowMs;
    await this.#life?.daemon.ship();
  }

  #at(point: string, state: { isDead: boolean }): void {
    if (state.isDead) throw new Killed(`already dead at ${point}`);
    if (this.#killAfter === never) return;
    this.#killAfter -= 1;
    if (this.#killAfter > 0) return;
    this.#killAfter = never;
    state.isDead = true;
    this.#count(`killed:${point}`);
    throw new Killed(point);
  }

  /** A fenced side gives what it has a timeline that claims nothing. */
  async #storeBranch(commits: number): Promise<void> {
    const plan = this.#reachableBefore(this.#machine.storedTxid - this.#troublePrng.integer(0, 5));
    const last = plan?.at(-1);
    if (plan === undefined || last === undefined || this.#weather.isAway) return;
    const part = [...this.#machine.line.lineage()].find(({ line }) => line.first <= last.max);
    if (part === undefined) return;
    const parent = { line: part.line, txid: last.max };
    const from = this.#machine.line.state(last.max);
    const record = await takeEpoch(rootOf(this.#store), { kind: "exclusive" }, (epoch) => ({
      ...this.#makeRecord(epoch, { parent, isNew: true }),
      kind: "branch" as const,
    }));
    const line = new Line(record.timeline, parent, true);
    this.#lines.set(record.timeline, line);
    const begin = {
      pages: applyFiles(plan),
      tree: new Map(),
      rows: from.rows,
      timestampMsMin: from.timestampMs,
    };
    const machine = new VaultMachine(this.#world, line, begin);
    for (let count = 0; count < commits; count += 1) machine.commit();
    const directory = join(this.#directory, record.timeline);
    const daemon = await Daemon.start({
      machine,
      record,
      mode: { kind: "exclusive" },
      storeFor: () => this.#store,
      policy: this.#promises.current,
      clock: this.#clock,
      directory,
      keepsCopies: false,
      proven: () => [],
      emit: () => undefined,
      at: () => undefined,
    });
    await daemon.ship();
    await daemon.storeBase();
  }

  /** The lease's look tells the store's time once a minute. */
  #seeClock(): void {
    if (this.#clock.nowMs - this.#lastSeenMs < minute || this.#weather.isAway) return;
    this.#lastSeenMs = this.#clock.nowMs;
    this.#clock.see();
  }

  /** After each event: what was noticed at once, and what has to be looked for. */
  #judge(): void {
    const found = [
      ...this.#ledger.problems,
      ...this.#ledger.files.problems,
      ...this.#laws.problems,
    ];
    if (found[0] !== undefined) throw new LawBroken(found[0]);
    const { nowMs } = this.#clock;
    this.#laws.countRequests(this.#counts, this.#machine.line);
    const isChanged = this.#ledger.changes !== this.#checkedChanges;
    if (!isChanged || nowMs < this.#checkedMs + checkEveryMs[this.#scenario.density]) return;
    this.#check();
  }

  #check(): void {
    const { nowMs } = this.#clock;
    if (this.#machine.storedTxid === 0 || this.#machine.line.name === "unborn") return;
    this.#checkedChanges = this.#ledger.changes;
    this.#checkedMs = nowMs;
    this.#checks += 1;
    const { listsTimestamps } = this.#scenario;
    this.#referee.check({
      nowMs,
      head: this.#machine.line,
      storedTxid: this.#machine.storedTxid,
      lines: this.#lines,
      promises: this.#promises,
      proven: this.#proven,
      isBlurred: (fromMs, toMs) => this.#laws.isBlurred(fromMs, toMs),
      listsTimestamps,
    });
    this.#laws.check(this.#ledger, this.#proven);
  }

  async #finish(): Promise<void> {
    this.#check();
  }

  get #pruneEveryMs(): number {
    return Math.max(3 * hour, this.#scaled(day));
  }

  #scaled(ms: number): number {
    return Math.max(30 * minute, Math.round(ms / this.#scenario.scale));
  }

  #hear(event: MaintenanceEvent | RetentionEvent): void {
    this.#count(event.type);
    if (event.type === "retention-held") {
      this.#count(`held:${event.reason}`);
      // These two are of mistakes: of the plan, or of who wrote the epochs.
      const isMistake = event.reason === "refused" || event.reason === "unknown-line";
      if (isMistake) this.#ledger.problems.push(`retention holds: ${event.message}`);
    }
  }

  #count(name: string): void {
    this.#events[name] = (this.#events[name] ?? 0) + 1;
  }
}

/** Of one step, after the longest outage. */
const requestsMax = { dense: 60_000, sparse: 4_000 } as const;

/** After a step that changed something, but not more often than this: a dense vault's files are ten thousand. */
const checkEveryMs = { dense: hour, sparse: 0 } as const;

/** What a life of a process may end by in trouble, and the next one begin. */
function isExpected(error: unknown): boolean {
  return error instanceof ReplicaError && error.code === "EPOCH_HELD";
}

export type { Machine };
