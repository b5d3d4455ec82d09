import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PruneResult } from "@vaultwarden-stream/file-sync";
import { createPrng, type Prng } from "@vaultwarden-stream/testkit";
import type { MaintenanceEvent, RetentionEvent } from "wal-replicator/internals";
import { txidBefore } from "./departure.ts";
import { restoreByEngine } from "./engine-restore.ts";
import { Fleet } from "./fleet.ts";
import { Judge, type Situation } from "./judge.ts";
import { Promises } from "./promises.ts";
import type { ProvenPoint } from "./referee.ts";
import { RestoreIndex } from "./restore-index.ts";
import { beginMs, type Scenario, type Trouble } from "./scenario.ts";
import { draw, type RequestCounts, type Weather } from "./troubled-store.ts";
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

const never = Number.POSITIVE_INFINITY;
/** Files of a moment belong in memory, where a system has a place for such. */
const memoryDirectory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/**
 * A vault's life by a virtual clock: commits, troubles, and the engine's own maintenance over a store in memory, with a judge who looks after
 * each step. The same seed is the same life.
 */
export class Simulation implements Disposable {
  readonly #scenario: Scenario;
  readonly #clock = new VirtualClock(beginMs);
  readonly #weather: Weather = { isAway: false, isAppendOnly: false, failingShare: 0 };
  /** Of troubles alone: they do not change what is written. */
  readonly #prng: Prng;
  readonly #workload: Workload;
  readonly #store: WatchedStore;
  readonly #judge: Judge;
  readonly #fleet: Fleet;
  readonly #promises: Promises;
  readonly #counts: RequestCounts = new Map();
  readonly #directory: string;
  readonly #events: Record<string, number> = {};
  #proven: readonly ProvenPoint[] = [];
  #canDrill = true;
  #lastSeenMs = beginMs;
  #shipPauseMs: number = second;
  readonly #due = {
    start: beginMs,
    commit: beginMs,
    ship: never,
    files: never,
    base: never,
    step: never,
    drill: never,
    prune: never,
  };
  readonly #troubles: Trouble[];
  readonly #endings: { readonly atMs: number; readonly end: () => void }[] = [];
  #steps = 0;

  /** @param log - told what is stored and deleted. */
  constructor(scenario: Scenario, log?: (line: string) => void) {
    const { seed, policy, density, listsTimestamps, troubles } = scenario;
    this.#scenario = scenario;
    this.#troubles = [...troubles];
    this.#prng = createPrng((seed ^ 0x27d4_eb2f) >>> 0);
    this.#workload = new Workload(createPrng((seed ^ 0x1656_67b1) >>> 0), density);
    this.#promises = new Promises(beginMs, policy);
    const [clock, promises, weather] = [this.#clock, this.#promises, this.#weather];
    const pruneEveryMs = this.#pruneEveryMs;
    const lines = () => this.#fleet.lines;
    this.#judge = new Judge({ scenario, clock, lines, promises, pruneEveryMs, log });
    const { ledger } = this.#judge;
    this.#store = new WatchedStore(clock, ledger, {
      listsTimestamps,
      breaksOff: (key) => draw(seed, `halfway ${key} ${clock.nowMs}`) < weather.failingShare,
    });
    this.#directory = mkdtempSync(join(memoryDirectory, "maintenance-"));
    let pageId = 0;
    this.#fleet = new Fleet({
      ...{ scenario, weather, ledger, promises },
      world: {
        clock,
        prng: createPrng((seed ^ 0x5bd1_e995) >>> 0),
        contents: new Map(),
        rowShare: density === "dense" ? 0.02 : 0.3,
        nextPageId: () => {
          pageId += 1;
          return pageId;
        },
      },
      prng: this.#prng,
      store: this.#store,
      counts: this.#counts,
      directory: this.#directory,
      requestsMax: requestsMax[density],
      proven: () =>
        this.#proven.slice(0, 1).map(({ line, txid }) => ({ timeline: line.name, txid })),
      emit: (event) => this.#hear(event),
      onKilledAt: (point) => this.#count(`killed:${point}`),
      onHead: (line) => {
        this.#judge.laws.head = line;
      },
      onEnd: () => {
        // One that is killed at its nth request ends long after that was decided.
        const { nowMs } = this.#clock;
        this.#judge.laws.disturbances.add("restart", nowMs, nowMs);
        this.#due.step = never;
        this.#due.base = never;
        this.#due.start = nowMs + this.#prng.integer(1, 90) * second;
      },
    });
    this.#due.drill = beginMs + this.#scaled(day);
    this.#due.prune = beginMs + pruneEveryMs;
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
    for (;;) {
      const times = [...this.#endings, ...this.#troubles.slice(0, 1)].map(({ atMs }) => atMs);
      const nextMs = Math.min(...Object.values(this.#due), ...times);
      if (nextMs >= endMs) break;
      this.#clock.advanceTo(nextMs);
      this.#seeClock();
      await this.#change();
      await this.#act();
      this.#judge.judge(this.#situation, this.#counts, this.#fleet.machine.line);
    }
    if (this.#situation !== undefined) this.#judge.check(this.#situation);
    const { ledger, referee, checks } = this.#judge;
    const { commits, lives, lines } = this.#fleet;
    return {
      commits,
      steps: this.#steps,
      checks,
      restores: referee.restores,
      lives,
      timelines: lines.size,
      deletes: ledger.deletes,
      bytes: ledger.bytes,
      objects: ledger.objectCount,
      events: this.#events,
    };
  }

  /** Undefined: nothing can be restored yet. */
  get #situation(): Situation | undefined {
    const { line: head, storedTxid } = this.#fleet.machine;
    return this.#fleet.isBorn ? { head, storedTxid, proven: this.#proven } : undefined;
  }

  /** Troubles end and begin. */
  async #change(): Promise<void> {
    const { nowMs } = this.#clock;
    for (const ending of this.#endings.filter(({ atMs }) => atMs <= nowMs)) {
      this.#endings.splice(this.#endings.indexOf(ending), 1);
      ending.end();
    }
    const [trouble] = this.#troubles;
    if (trouble === undefined || trouble.atMs > nowMs) return;
    this.#troubles.shift();
    this.#count(`trouble:${trouble.kind}`);
    this.#judge.laws.disturbances.add(
      trouble.kind,
      nowMs,
      "endMs" in trouble ? trouble.endMs : nowMs,
    );
    await this.#begin(trouble);
  }

  async #begin(trouble: Trouble): Promise<void> {
    const weather = this.#weather;
    const fleet = this.#fleet;
    const { nowMs } = this.#clock;
    const finallyDo = (end: () => void): void => {
      if ("endMs" in trouble) this.#endings.push({ atMs: trouble.endMs, end });
    };
    switch (trouble.kind) {
      case "outage":
        weather.isAway = true;
        return finallyDo(() => {
          weather.isAway = false;
        });
      case "flaky":
        weather.failingShare = trouble.share;
        return finallyDo(() => {
          weather.failingShare = 0;
        });
      case "append-only":
        weather.isAppendOnly = true;
        return finallyDo(() => {
          weather.isAppendOnly = false;
        });
      case "skew":
        this.#setSkew(trouble.skewMs);
        return finallyDo(() => this.#setSkew(0));
      case "no-drill":
        this.#canDrill = false;
        return finallyDo(() => {
          this.#canDrill = true;
        });
      case "restart":
        return trouble.isKilled ? fleet.killAfter(this.#prng.integer(1, 30)) : fleet.restart();
      case "failover":
        return this.#moveTo(txidBefore(fleet.machine, trouble.lostCommits, nowMs));
      case "restore-back":
        return this.#moveTo(this.#offeredTxid(nowMs - trouble.backMs));
      case "branch":
        if (weather.isAway) return;
        return await fleet.storeBranch(trouble.commits, this.#prng.integer(0, 5));
      case "policy":
        this.#promises.change(nowMs, trouble.policy);
        this.#judge.ledger.forgetReads();
        return fleet.restart();
    }
  }

  #moveTo(txid: number | undefined): void {
    if (txid === undefined || !this.#fleet.moveTo(txid)) return;
    this.#due.files = this.#clock.nowMs + minute;
  }

  /** What is offered of a moment. What can be restored beyond that is there by chance, and its files may be gone. */
  #offeredTxid(beforeMs: number): number | undefined {
    if (!this.#fleet.isBorn) return undefined;
    const { line: head } = this.#fleet.machine;
    const position = { head, nowMs: this.#clock.nowMs, promises: this.#promises };
    const offered = this.#judge.referee.offered(position);
    const instant = offered.findLast(({ at }) => at.getTime() < beforeMs);
    return instant && Number(instant.txid);
  }

  /** All that is due now, each thing once. */
  async #act(): Promise<void> {
    const due = this.#due;
    const isDue = (name: keyof typeof due): boolean => {
      if (due[name] > this.#clock.nowMs) return false;
      due[name] = never;
      return true;
    };
    if (isDue("start")) await this.#start();
    if (isDue("commit")) this.#commit();
    if (isDue("ship")) await this.#ship();
    if (isDue("files")) await this.#pushFiles();
    if (isDue("base")) await this.#storeBase();
    if (isDue("step")) await this.#step();
    if (isDue("drill")) await this.#drill();
    if (isDue("prune")) await this.#prune();
  }

  async #start(): Promise<void> {
    const isAlive = await this.#fleet.start();
    const due = this.#due;
    const { nowMs } = this.#clock;
    if (!isAlive) {
      due.start = nowMs + minute;
      return;
    }
    due.ship = nowMs;
    due.step = nowMs;
    due.files = Math.min(due.files, nowMs + 5 * second);
    const { line } = this.#fleet.machine;
    const hasBase = (this.#judge.ledger.levels(line.name).get(9)?.length ?? 0) > 0;
    if (line.parent === undefined || hasBase) return;
    const isLate = this.#prng.chance(0.3);
    const lateMs = this.#scaled(this.#prng.integer(1, 36) * hour);
    due.base = nowMs + (isLate ? lateMs : 20 * second);
  }

  #commit(): void {
    const { nowMs } = this.#clock;
    const fleet = this.#fleet;
    fleet.commit();
    this.#due.commit = this.#workload.nextMs(nowMs);
    this.#due.files = Math.min(this.#due.files, fleet.machine.vault.nextChangeMs);
    // While the store fails, what waits is not tried for each commit.
    if (this.#shipPauseMs === second) this.#due.ship = nowMs;
  }

  async #ship(): Promise<void> {
    const before = this.#fleet.machine.storedTxid;
    const isAll = await this.#fleet.run(({ daemon }) => daemon.ship());
    const { nowMs } = this.#clock;
    const wasFailing = this.#shipPauseMs > second;
    this.#shipPauseMs = isAll === false ? Math.min(2 * this.#shipPauseMs, 5 * minute) : second;
    if (isAll === false) this.#due.ship = nowMs + this.#shipPauseMs;
    if (this.#fleet.machine.storedTxid === before) return;
    // Now somebody restores who could not, before anything is merged of what has just come.
    if (wasFailing && this.#situation !== undefined) this.#judge.check(this.#situation);
    // As the session: nothing can be due because of a new file before its window ends.
    const [intervalMs = second] = this.#promises.current.levelIntervalsMs;
    const windowEndMs = (Math.floor(nowMs / intervalMs) + 1) * intervalMs;
    this.#due.step = Math.min(this.#due.step, windowEndMs);
  }

  async #pushFiles(): Promise<void> {
    const { vault } = this.#fleet.machine;
    const { nowMs } = this.#clock;
    vault.settle(nowMs);
    this.#due.files = vault.nextChangeMs;
    const isDone = await this.#fleet.run(({ daemon }) => daemon.pushFiles());
    if (isDone === undefined) this.#due.files = Math.min(this.#due.files, nowMs + minute);
  }

  async #storeBase(): Promise<void> {
    const isDone = await this.#fleet.run(({ daemon }) => daemon.storeBase());
    if (isDone !== true) this.#due.base = this.#clock.nowMs + minute;
  }

  async #step(): Promise<void> {
    this.#steps += 1;
    const nextMs = await this.#fleet.run(({ daemon }) => daemon.maintain());
    const { nowMs, engineMs } = this.#clock;
    // Infinity: a new file wakes it.
    if (nextMs !== undefined) this.#due.step = Math.max(nowMs + second, nowMs + nextMs - engineMs);
    // What was committed in the middle of it.
    if (this.#fleet.machine.spool.length > 0) this.#due.ship = Math.min(this.#due.ship, nowMs);
    this.#due.files = Math.min(this.#due.files, this.#fleet.machine.vault.nextChangeMs);
  }

  /** The newest state, proved by a restore: mostly as the referee does it, sometimes as the engine does. */
  async #drill(): Promise<void> {
    this.#due.drill = this.#clock.nowMs + this.#scaled(day);
    const { line: head, storedTxid } = this.#fleet.machine;
    if (!this.#canDrill || this.#weather.isAway || storedTxid === 0) return;
    const index = new RestoreIndex(this.#judge.ledger, head);
    const last = index.plan({ upToTxid: storedTxid })?.at(-1);
    const line = last && this.#fleet.lines.get(last.timeline);
    if (last === undefined || line === undefined) return;
    this.#proven = [{ line, txid: last.max }, ...this.#proven.slice(0, 1)];
    if (this.#scenario.density === "sparse" && !this.#prng.chance(0.05)) return;
    await restoreByEngine(this.#store, join(this.#directory, "restored"), last, line);
  }

  async #prune(): Promise<void> {
    this.#due.prune = this.#clock.nowMs + this.#pruneEveryMs;
    const result = await this.#pruneFiles(false);
    // A shorter retention lets more go at once than goes without the operator's word.
    if (result?.stopped?.reason === "share") await this.#pruneFiles(true);
  }

  async #pruneFiles(force: boolean): Promise<PruneResult | undefined> {
    const result = await this.#fleet.run(({ daemon }) => daemon.pruneFiles(force));
    this.#count(`pruned:${result?.stopped?.reason ?? (result === undefined ? "failed" : "done")}`);
    return result;
  }

  #setSkew(skewMs: number): void {
    this.#clock.setSkew(skewMs);
    this.#lastSeenMs = this.#clock.nowMs;
  }

  /** The lease's look tells the store's time once a minute. */
  #seeClock(): void {
    if (this.#clock.nowMs - this.#lastSeenMs < minute || this.#weather.isAway) return;
    this.#lastSeenMs = this.#clock.nowMs;
    this.#clock.see();
  }

  get #pruneEveryMs(): number {
    return Math.max(3 * hour, this.#scaled(day));
  }

  #scaled(ms: number): number {
    return Math.max(30 * minute, Math.round(ms / this.#scenario.scale));
  }

  #hear(event: MaintenanceEvent | RetentionEvent): void {
    this.#count(event.type);
    if (event.type !== "retention-held") return;
    this.#count(`held:${event.reason}`);
    // These two are of mistakes: of the plan, or of who wrote the epochs.
    const isMistake = event.reason === "refused" || event.reason === "unknown-line";
    if (isMistake) this.#judge.ledger.problems.push(`retention holds: ${event.message}`);
  }

  #count(name: string): void {
    this.#events[name] = (this.#events[name] ?? 0) + 1;
  }
}

/** Of one step, after the longest outage. */
const requestsMax = { dense: 60_000, sparse: 4_000 } as const;
