import { mkdtempSync, readdirSync, renameSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  checkWorkloadDatabase,
  createPrng,
  type Prng,
  startWorkload,
  type Workload,
} from "@vaultwarden-stream/testkit";
import { restore } from "wal-replicator";
import { framesMoved, walState } from "../oracle/ghost-frame.ts";
import { type Engine, EngineError, type EngineOptions, startEngine } from "../support/engine.ts";

/**
 * A database, its writer and its engine, through lives that end by SIGKILL or by a power cut.
 *
 * The law after every restart: the restored database is a state that was committed, and never older than what the store had
 * confirmed. Commits that nobody confirmed may be there (a phantom) or not; a hole never.
 */
export class CrashLife implements AsyncDisposable {
  readonly prng: Prng;
  readonly database: string;
  readonly replica: string;
  readonly #directory: string;
  readonly #seed: number;
  #writer: Workload | undefined;
  #engine: Engine | undefined;
  /** The newest commit that a resolved `flush` covers. */
  #confirmedCommitId = 0;
  #restarts = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.prng = createPrng(seed);
    this.#directory = mkdtempSync(join(tmpdir(), `crash-${seed}-`));
    this.database = join(this.#directory, "app.db");
    this.replica = join(this.#directory, "replica");
  }

  get engine(): Engine {
    if (this.#engine === undefined) throw new Error("no engine runs");
    return this.#engine;
  }

  async startWriter(): Promise<void> {
    this.#restarts += 1;
    this.#writer = await startWorkload({
      databasePath: this.database,
      seed: this.#seed + this.#restarts,
      pageSize: 4096,
      walAutocheckpoint: "random",
      paused: true,
    });
  }

  /**
   * Starts the engine; what the operator of a stream would do if it says that the local database is behind, is done.
   * A crash point that is hit during the start is an end like any other.
   */
  async startEngine(options: Partial<EngineOptions> = {}): Promise<"running" | "crashed"> {
    const start = (): Promise<Engine> =>
      startEngine({
        database: this.database,
        replica: this.replica,
        syncIntervalMs: 5,
        checkpointPolicy: { passiveFrames: 20, barrierBytes: 60 * 4120 },
        ...options,
      });
    try {
      this.#engine = await start();
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.code === "CRASHED" && options.crashAt !== undefined) return "crashed";
      if (error.code !== "LOCAL_BEHIND") throw error;
      const hadWriter = this.#writer !== undefined;
      await this.killWriter();
      for (const suffix of ["", "-wal", "-shm"]) rmSync(this.database + suffix, { force: true });
      await restore({ replica: this.replica, target: this.database });
      this.#engine = await start();
      if (hadWriter) await this.startWriter();
    }
    return "running";
  }

  /** The engine first, as the daemon does it: the anchor is held before the application starts. */
  async startEngineThenWriter(): Promise<void> {
    await this.startEngine();
    if (this.#writer === undefined) await this.startWriter();
  }

  resume(): void {
    this.#writer?.resume();
  }

  async write(ms: number): Promise<void> {
    this.#writer?.resume();
    await sleepMs(ms);
    await this.#writer?.pause();
  }

  /** Writes while a crash point may end the engine at any moment. */
  async writeUntilEngineEnds(msMax: number): Promise<boolean> {
    this.#writer?.resume();
    const ended = await Promise.race([
      this.#engine?.exited.then(() => true),
      sleepMs(msMax).then(() => false),
    ]);
    await this.#writer?.pause();
    return ended === true;
  }

  async confirm(): Promise<void> {
    const committed = (await this.#writer?.pause()) ?? 0;
    await this.engine.flush();
    this.#confirmedCommitId = committed;
  }

  async killEngine(): Promise<void> {
    await this.#engine?.kill();
    this.#engine = undefined;
  }

  async killWriter(): Promise<void> {
    await this.#writer?.kill();
    this.#writer = undefined;
  }

  async stopEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop(false);
  }

  /** Both die at once, and what was never synced is lost: an end of the WAL, the wal-index, half-written files of the spool, unsynced renames. */
  async powerCut(): Promise<void> {
    await this.#writer?.pause();
    const { log } = walState(this.database);
    await this.killEngine();
    await this.killWriter();
    const moved = framesMoved(this.database);
    rmSync(`${this.database}-shm`, { force: true });
    const wal = `${this.database}-wal`;
    if (log > moved && this.prng.chance(0.8)) {
      const kept = 32 + this.prng.integer(moved, log - 1) * 4120 + this.prng.integer(0, 4119);
      truncateSync(wal, Math.min(kept, statSync(wal).size));
    }
    const spool = join(this.#directory, ".app.db-replica");
    for (const entry of readdirSync(spool, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.name.endsWith(".tmp"))
        truncateSync(path, this.prng.integer(0, statSync(path).size));
      // The mark "stored" is a rename that is never synced.
      if (entry.name.endsWith(".stored") && this.prng.chance(0.5))
        renameSync(path, path.replace(/stored$/, "waiting"));
    }
  }

  /** Restores what the store has, beside the database, and holds it against the law. */
  async checkRestored(): Promise<void> {
    const target = join(this.#directory, "restored.db");
    await restore({ replica: this.replica, target, overwrite: true });
    const check = await checkWorkloadDatabase(target);
    if (check.problems.length > 0)
      throw new Error(`the restored database is no committed state: ${check.problems.join("; ")}`);
    if (check.lastCommitId < this.#confirmedCommitId) {
      throw new Error(
        `commit ${this.#confirmedCommitId} was confirmed, and the restored database ends at ${check.lastCommitId}`,
      );
    }
    for (const suffix of ["", "-wal", "-shm"]) rmSync(target + suffix, { force: true });
    rmSync(join(this.#directory, ".restored.db-replica"), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killEngine();
    await this.killWriter();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
