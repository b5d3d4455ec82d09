import { join } from "node:path";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { Prng } from "@vaultwarden-stream/testkit";
import type { EpochMode, EpochRecord } from "wal-replicator/internals";
import { type Departure, departFrom } from "./departure.ts";
import { type Begun, makeRecord } from "./epoch-records.ts";
import type { Ledger } from "./ledger.ts";
import { Life, type LifeOptions } from "./life.ts";
import { Line } from "./line.ts";
import { VaultMachine, type World } from "./machine.ts";
import type { Promises } from "./promises.ts";
import type { Scenario } from "./scenario.ts";
import type { RequestCounts, Weather } from "./troubled-store.ts";

export interface FleetOptions
  extends Pick<LifeOptions, "proven" | "emit" | "onKilledAt" | "requestsMax"> {
  readonly scenario: Scenario;
  readonly world: World;
  readonly prng: Prng;
  readonly store: ObjectStore;
  readonly weather: Weather;
  readonly counts: RequestCounts;
  readonly ledger: Ledger;
  readonly promises: Promises;
  readonly directory: string;
  /** A timeline has begun; undefined: it is a branch, which claims nothing. */
  readonly onHead: (line: Line) => void;
  /** The process is gone, and has to be started again. */
  readonly onEnd: () => void;
}

/** The machine that has the vault, and its process; others before it and beside it. Their timelines are all that is left of them. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly lines: Map<string, Line> = new Map();
  #machine: VaultMachine;
  #life: Life | undefined;
  /** How the next process begins; undefined: one lives. */
  #begun: Begun | undefined = { timeline: undefined, parent: undefined };
  /** Commits of the machine that has the vault. */
  commits = 0;
  lives = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#machine = new VaultMachine(options.world, unborn());
  }

  get machine(): VaultMachine {
    return this.#machine;
  }

  /** Whether its timeline has a name and something is stored. */
  get isBorn(): boolean {
    return this.#machine.storedTxid > 0 && this.lines.has(this.#machine.line.name);
  }

  commit(): void {
    this.#machine.commit();
    this.commits += 1;
  }

  /** @returns undefined if there is no process, it died of it, or the store failed it. */
  async run<T>(work: (life: Life) => Promise<T>): Promise<T | undefined> {
    const life = this.#life;
    if (life === undefined) return undefined;
    const result = await life.run(() => work(life));
    if (life.isDead && this.#life === life) this.restart();
    return result;
  }

  killAfter(count: number): void {
    this.#life?.killAfter(count);
  }

  restart(): void {
    this.#life?.end();
    this.#life = undefined;
    this.#begun ??= this.#next();
    this.#options.onEnd();
  }

  /** Another machine, or this one after a restore: it begins there, in a timeline of its own. @returns whether it does. */
  moveTo(txid: number): boolean {
    const { ledger, world } = this.#options;
    const { line, storedTxid } = this.#machine;
    const departure = storedTxid === 0 ? undefined : departFrom(ledger, line, txid);
    if (departure === undefined) return false;
    // Its timeline's name comes with its epoch.
    this.#machine = new VaultMachine(world, unborn(departure.parent), departure.begin);
    this.#begun = { timeline: undefined, parent: departure.parent };
    this.restart();
    return true;
  }

  /** @returns whether a process lives now. */
  async start(): Promise<boolean> {
    const begun = this.#begun;
    if (begun === undefined) return true;
    const { isDetected, keepsCopies } = this.#options.scenario;
    const mode: EpochMode = isDetected
      ? { kind: "detected", alsoPlain: true }
      : { kind: "exclusive" };
    const { machine } = this;
    const { onHead, weather, counts, proven, emit, onKilledAt } = this.#options;
    this.#life = await Life.start({
      ...this.#lifeOptions(machine, begun, mode, String(this.lives)),
      ...{ weather, counts, proven, emit, onKilledAt, keepsCopies },
      onEpoch: ({ timeline }) => {
        if (begun.timeline !== undefined) return;
        const line = this.#enter(machine, timeline, begun.parent);
        onHead(line);
      },
      meanwhile: () => this.#meanwhile(),
    });
    if (this.#life === undefined) return false;
    this.#begun = undefined;
    this.lives += 1;
    return true;
  }

  /** A fenced side gives what it has a timeline that claims nothing. Nothing troubles it. */
  async storeBranch(commits: number, lostCommits: number): Promise<void> {
    const { world, ledger } = this.#options;
    const { line, storedTxid } = this.#machine;
    const upToTxid = Math.max(1, storedTxid - lostCommits);
    const departure = storedTxid === 0 ? undefined : departFrom(ledger, line, upToTxid);
    if (departure === undefined) return;
    const { parent, begin }: Departure = departure;
    const machine = new VaultMachine(world, unborn(parent), begin);
    const begun: Begun = { timeline: undefined, parent, kind: "branch" };
    const name = `branch-${this.lines.size}`;
    const life = await Life.start({
      ...this.#lifeOptions(machine, begun, { kind: "exclusive" }, name),
      onEpoch: ({ timeline }) => void this.#enter(machine, timeline, parent),
    });
    for (let count = 0; count < commits; count += 1) machine.commit();
    await life?.daemon.ship();
    await life?.daemon.storeBase();
  }

  /** Of a process that is left in peace. */
  #lifeOptions(
    machine: VaultMachine,
    begun: Begun,
    mode: EpochMode,
    name: string,
  ): Omit<LifeOptions, "onEpoch"> {
    const { scenario, world, store, prng, promises, ledger, directory, requestsMax } =
      this.#options;
    const { seed } = scenario;
    const { clock } = world;
    return {
      ...{ machine, mode, seed, clock, store, prng, requestsMax },
      policy: promises.current,
      keepsCopies: false,
      directory: join(directory, name),
      weather: { isAway: false, isAppendOnly: false, failingShare: 0 },
      counts: new Map(),
      makeRecord: (epoch): Omit<EpochRecord, "keyedByNonce"> =>
        makeRecord(seed, epoch, begun, clock.machineMs),
      proven: () => [],
      emit: () => undefined,
      meanwhile: () => Promise.resolve(),
      onKilledAt: () => undefined,
      onProblem: (problem) => ledger.problems.push(problem),
    };
  }

  /** A machine's timeline has a name now. */
  #enter(machine: VaultMachine, timeline: string, parent: Begun["parent"]): Line {
    const line = new Line(timeline, parent);
    this.lines.set(timeline, line);
    machine.branchTo(line);
    return line;
  }

  /** How the machine goes on: in its timeline, or where each epoch has one of its own, behind what is stored. */
  #next(): Begun {
    const { line, storedTxid } = this.#machine;
    if (!this.#options.scenario.isDetected) return { timeline: line.name, parent: line.parent };
    const hasOwn = storedTxid >= line.first;
    return { timeline: undefined, parent: hasOwn ? { line, txid: storedTxid } : line.parent };
  }

  /** Time passes while a request is under way, and somebody commits. */
  async #meanwhile(): Promise<void> {
    const { clock } = this.#options.world;
    clock.advanceTo(clock.nowMs + 700);
    if (this.#machine.line.last === 0) return;
    this.commit();
    await this.#life?.daemon.ship();
  }
}

/** A timeline whose epoch is not taken yet. */
function unborn(parent?: Departure["parent"]): Line {
  return new Line("unborn", parent);
}
