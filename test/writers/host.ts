import { copyFileSync, cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { Position } from "wal-replicator";
import {
  EngineError,
  type EngineOptions,
  type LaunchedEngine,
  launchEngine,
  type PreparedInChild,
  prepareInChild,
} from "../support/engine.ts";
import { readLabels } from "./row-database.ts";
import { type RowWriter, startRowWriter } from "./row-writer.ts";

export interface HostOptions {
  readonly replica: string;
  readonly leaseIntervalMs: number;
  /** How far the host's wall clock is off. */
  readonly clockOffsetMs?: number;
}

/** A commit that the store has confirmed: `flush` had resolved after it, with this position. */
export interface Acknowledged {
  readonly label: string;
  readonly timeline: string;
}

/** Who takes over from a busy writer restores again until that one has seen it: a second or two. */
const startAttemptsMax = 10;

/** A machine with a volume: a database, its application and its engine, each in a process of its own. */
export class Host {
  readonly name: string;
  readonly database: string;
  readonly acknowledged: Acknowledged[] = [];
  /** All that this host's database ever held, a list of labels for each life of the file: what restores must be the beginning of one. */
  readonly lines: string[][] = [];
  /** Why starts were refused. */
  readonly refusals: EngineError[] = [];
  readonly #directory: string;
  readonly #options: HostOptions;
  readonly #engines: LaunchedEngine[] = [];
  #writer: RowWriter | undefined;
  /** Since the writer was started; not yet in a confirmed flush. */
  #unconfirmed: string[] = [];
  #writerLives = 0;
  #engine: LaunchedEngine | undefined;

  constructor(name: string, options: HostOptions) {
    this.name = name;
    this.#options = options;
    this.#directory = mkdtempSync(join(tmpdir(), `host-${name}-`));
    this.database = join(this.#directory, "app.db");
  }

  get engine(): LaunchedEngine {
    if (this.#engine === undefined) throw new Error(`no engine runs on host ${this.name}`);
    return this.#engine;
  }

  /** All engines of this host so far, the ended ones too. */
  get engines(): readonly LaunchedEngine[] {
    return this.#engines;
  }

  get isEngineRunning(): boolean {
    return this.#engine !== undefined;
  }

  get isWriting(): boolean {
    return this.#writer !== undefined;
  }

  /** The other host's volume as it is at this moment: its database and its spool. Neither application nor engine may be in the middle of something. */
  copyVolumeOf(other: Host): void {
    cpSync(other.#directory, this.#directory, { recursive: true });
    rmSync(`${this.database}-shm`, { force: true });
  }

  async startWriter(): Promise<void> {
    const line: string[] = [];
    this.lines.push(line);
    this.#writerLives += 1;
    // Commits that a killed writer made and nobody heard of have used their labels.
    const labels = `${this.name}${this.#writerLives}`;
    this.#writer = await startRowWriter(this.database, labels, (label) => {
      line.push(label);
      this.#unconfirmed.push(label);
    });
    line.unshift(...this.#writer.labels);
  }

  /** Resolves when so many commits were made. */
  async write(commits: number): Promise<void> {
    if (this.#writer === undefined) await this.startWriter();
    await this.#writer?.write(commits);
  }

  /** Goes on committing until something else is asked. */
  goOnWriting(everyMs: number): void {
    this.#writer?.goOn(everyMs);
  }

  /** Launches the engine, and does not wait for its start. */
  async launch(options: Partial<EngineOptions> = {}): Promise<LaunchedEngine> {
    const engine = await launchEngine({ ...this.#engineOptions, ...options });
    this.#engine = engine;
    this.#engines.push(engine);
    return engine;
  }

  /**
   * Launches the engine and waits until it streams, as an operator does who trusts the store: what is behind is restored, and where both
   * sides have what the other lacks, the store's goes on.
   */
  async start(options: Partial<EngineOptions> = {}): Promise<LaunchedEngine> {
    if (!existsSync(this.database)) await this.prepare(options);
    return this.goOn(await this.launch(options), options);
  }

  /** The rest of `start`, for an engine that was launched already. */
  async goOn(
    launched: LaunchedEngine,
    options: Partial<EngineOptions> = {},
  ): Promise<LaunchedEngine> {
    let engine = launched;
    for (let attempt = 0; attempt < startAttemptsMax; attempt++) {
      try {
        await engine.started;
        return engine;
      } catch (error) {
        await this.killEngine();
        if (!(error instanceof EngineError)) throw error;
        this.refusals.push(error);
        if (error.code === "LOCAL_BEHIND") {
          await this.prepare({ ...options, restoreBecause: error.message });
        } else if (error.code !== "LOCAL_DIVERGED" && error.code !== "EPOCH_HELD") {
          throw error;
        }
        engine = await this.launch({ ...options, onDivergence: "remote" });
      }
    }
    throw new Error(`host ${this.name} does not start: ${this.refusals.join("; ")}`);
  }

  /** Restores where the start table says so, before an application has the database open. */
  async prepare(
    options: Partial<EngineOptions> & { readonly restoreBecause?: string } = {},
  ): Promise<PreparedInChild> {
    await this.killWriter();
    this.noteLine();
    return prepareInChild({ ...this.#engineOptions, ...options });
  }

  /** Everything that was committed before is confirmed by the store when this resolves. @returns undefined if that is not known. */
  async acknowledge(): Promise<Position | undefined> {
    const covered = this.#unconfirmed;
    const committed = [...covered];
    const position = await this.engine.flush();
    for (const label of committed) this.acknowledged.push({ label, timeline: position.timeline });
    if (covered === this.#unconfirmed) this.#unconfirmed = covered.slice(committed.length);
    return position;
  }

  async stopEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop(false).catch(async (error: unknown) => {
      await engine.kill();
      throw error;
    });
  }

  async killEngine(): Promise<void> {
    await this.#engine?.kill();
    this.#engine = undefined;
  }

  async killWriter(): Promise<void> {
    await this.#writer?.kill();
    this.#writer = undefined;
    this.#unconfirmed = [];
  }

  /** Notes what the database holds now, also what its killed writer never told anybody; on a copy, so that nothing here is touched. */
  noteLine(): void {
    if (!existsSync(this.database)) return;
    const copy = mkdtempSync(join(tmpdir(), "noted-"));
    try {
      for (const suffix of ["", "-wal"]) {
        const path = this.database + suffix;
        if (existsSync(path)) copyFileSync(path, join(copy, `app.db${suffix}`));
      }
      const database = new Database(join(copy, "app.db"));
      try {
        this.lines.push(readLabels(database));
      } finally {
        database.close();
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }

  async end(): Promise<void> {
    await this.killEngine();
    await this.killWriter();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get #engineOptions(): EngineOptions {
    const { replica, leaseIntervalMs, clockOffsetMs } = this.#options;
    return {
      database: this.database,
      replica,
      leaseIntervalMs,
      syncIntervalMs: 5,
      ...(clockOffsetMs === undefined ? {} : { clockOffsetMs }),
    };
  }
}
