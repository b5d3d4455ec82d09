import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createPrng,
  findSqliteShell,
  type Prng,
  startShellWorkload,
  startWorkload,
  type Workload,
  type WorkloadOptions,
} from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { restore } from "wal-replicator";
import { type Engine, EngineError, type EngineOptions, startEngine } from "../support/engine.ts";
import { forgeGhostFrame, framesMoved, walState } from "./ghost-frame.ts";
import { growOutsideWal } from "./growth-outside-wal.ts";

/**
 * One seeded life of a database under two writers that are processes of their own, streamed by the engine in a third, with
 * foreign checkpoints, restarts, kills, power cuts and ghost frames in between. At moments when no writer writes, the whole
 * database is read through SQLite and remembered with the TXID that `flush` gives. At the end every remembered TXID is restored and compared, byte by byte.
 *
 * What it does not verify: states between two flushes (no reader can know at which commit a pass ended), and object times.
 */
export interface OracleOptions {
  readonly seed: number;
  readonly rounds: number;
  /** Sources of the engine, if not this checkout's. */
  readonly engineModule?: string;
}

export interface OracleResult {
  readonly compared: number;
  readonly commits: number;
  readonly events: readonly string[];
}

export class OracleMismatch extends Error {
  override readonly name = "OracleMismatch";
}

interface Remembered {
  readonly timeline: string;
  readonly txid: bigint;
  readonly sha256: string;
}

const withoutCheckpoints: Partial<WorkloadOptions> = {
  walAutocheckpoint: 0,
  statements: { insert: 30, update: 25, delete: 15, blob: 10, ddl: 2, rollback: 5 },
};

const pageSizes = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] as const;

export async function runOracle(options: OracleOptions): Promise<OracleResult> {
  const directory = mkdtempSync(join(tmpdir(), `oracle-${options.seed}-`));
  const life = new OracleLife(directory, options);
  try {
    return await life.run();
  } catch (error) {
    // An engine that does not even run has not been found out.
    if (error instanceof EngineError && error.code === "CRASHED") throw error;
    throw new OracleMismatch(
      `SEED=${options.seed} after ${life.events.join(", ")}: ${(error as Error).message}`,
      { cause: error },
    );
  } finally {
    await life.end();
    rmSync(directory, { recursive: true, force: true });
  }
}

class OracleLife {
  readonly events: string[] = [];
  readonly #prng: Prng;
  readonly #options: OracleOptions;
  readonly #database: string;
  readonly #replica: string;
  readonly #directory: string;
  readonly #pageSize: number;
  readonly #remembered: Remembered[] = [];
  #writers: readonly Workload[] = [];
  #engine: Engine | undefined;
  #commits = 0;

  constructor(directory: string, options: OracleOptions) {
    this.#directory = directory;
    this.#options = options;
    this.#database = join(directory, "app.db");
    this.#replica = join(directory, "replica");
    this.#prng = createPrng(options.seed);
    this.#pageSize = this.#prng.pick(pageSizes);
  }

  async run(): Promise<OracleResult> {
    this.events.push(`page size ${this.#pageSize}`);
    await this.#startWriters();
    await this.#startEngine();
    for (let round = 0; round < this.#options.rounds; round++) {
      await this.#round();
      await this.#remember();
    }
    await this.#stopEngine();
    await this.#stopWriters();
    for (const remembered of this.#remembered) await this.#compare(remembered);
    return { compared: this.#remembered.length, commits: this.#commits, events: this.events };
  }

  async end(): Promise<void> {
    await this.#engine?.kill();
    for (const writer of this.#writers) await writer.kill();
  }

  async #round(): Promise<void> {
    const event = this.#prng.pickWeighted({
      write: 10,
      ghost: 2,
      "engine restart": 2,
      "engine kill": 2,
      gap: 2,
      "gap with truncate": 2,
      "writer kill": 2,
      "power cut, writers first": 2,
      "growth outside the WAL": 2,
    });
    this.events.push(event);
    switch (event) {
      case "write":
        return this.#write();
      case "ghost":
        await this.#write();
        forgeGhostFrame(this.#database);
        // Time for the engine to fall for it, before the next commit overwrites it.
        return sleepMs(60);
      case "engine restart":
        await this.#stopEngine();
        await this.#startEngine();
        return this.#write();
      case "engine kill":
        await this.#killEngineWhileWriting();
        await this.#startEngine();
        return this.#write();
      case "gap":
        await this.#stopEngine();
        await this.#write();
        return this.#startEngine();
      case "gap with truncate":
        await this.#stopEngine();
        await this.#write();
        checkpointTruncate(this.#database);
        await this.#write();
        return this.#startEngine();
      case "writer kill":
        await this.#killWritersWhileWriting();
        return this.#startWriters();
      case "power cut, writers first":
        return this.#powerCut();
      case "growth outside the WAL":
        return this.#growOutsideWal();
    }
  }

  /** Lets both writers commit for a random short time. */
  async #write(): Promise<void> {
    for (const writer of this.#writers) writer.resume();
    await sleepMs(this.#prng.integer(20, 250));
    await this.#pause();
  }

  async #pause(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.pause()));
  }

  async #killEngineWhileWriting(): Promise<void> {
    for (const writer of this.#writers) writer.resume();
    await sleepMs(this.#prng.integer(5, 120));
    await this.#engine?.kill();
    this.#engine = undefined;
    await sleepMs(this.#prng.integer(0, 60));
    await this.#pause();
  }

  async #killWritersWhileWriting(): Promise<void> {
    for (const writer of this.#writers) writer.resume();
    await sleepMs(this.#prng.integer(5, 120));
    await this.#killWriters();
  }

  /**
   * Everything dies at once, the end of the WAL that was never synced is gone, and the application is up again before the engine is,
   * with new commits in the same generation over the lost ones. Nobody checkpoints meanwhile: what was moved was synced before,
   * and no power cut takes it.
   */
  async #powerCut(): Promise<void> {
    await this.#stopEngine();
    await this.#stopWriters();
    await this.#startWriters(withoutCheckpoints);
    await this.#startEngine({ passiveFrames: 1e9, barrierBytes: 1e15 });
    await this.#write();
    await this.#engine?.flush();
    const { log } = walState(this.#database);
    await this.#engine?.kill();
    this.#engine = undefined;
    await this.#killWriters();
    const moved = framesMoved(this.#database);
    if (log > moved) {
      const kept = this.#prng.integer(moved, log - 1);
      truncateSync(`${this.#database}-wal`, 32 + kept * (this.#pageSize + 24));
    }
    rmSync(`${this.#database}-shm`, { force: true });
    // What was remembered beyond the cut stays restorable; the database itself went back in time.
    await this.#startWriters(withoutCheckpoints);
    await this.#write();
    await this.#write();
    await this.#startEngineOrRestore();
  }

  /** The engine is up before the writers are, so nothing fills the new pages before they are captured. */
  async #growOutsideWal(): Promise<void> {
    await this.#write();
    await this.#engine?.flush();
    await this.#engine?.kill();
    this.#engine = undefined;
    await this.#killWriters();
    growOutsideWal(this.#database);
    await this.#startEngineOrRestore();
    await this.#remember();
    await this.#startWriters();
  }

  /** If the engine finds that the store has what we lack, it must say so; then the database is restored, as an operator would. */
  async #startEngineOrRestore(): Promise<void> {
    try {
      await this.#startEngine();
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== "LOCAL_BEHIND") throw error;
      this.events.push("behind: restored");
      const hadWriters = this.#writers.length > 0;
      await this.#killWriters();
      for (const suffix of ["", "-wal", "-shm"]) rmSync(this.#database + suffix, { force: true });
      await restore({ replica: this.#replica, target: this.#database });
      await this.#startEngine();
      if (hadWriters) await this.#startWriters();
    }
  }

  async #remember(): Promise<void> {
    const position = await this.#engine?.flush();
    if (position === undefined) return;
    const sha256 = hashThroughSqlite(this.#database);
    this.#remembered.push({ timeline: position.timeline, txid: position.txid, sha256 });
  }

  async #compare(remembered: Remembered): Promise<void> {
    const target = join(this.#directory, "restored.db");
    const timeline = { timeline: remembered.timeline, txid: remembered.txid };
    await restore({ replica: this.#replica, target, ...timeline, overwrite: true } as never);
    const sha256 = hashBytes(readFileSync(target));
    if (sha256 !== remembered.sha256) {
      throw new OracleMismatch(
        `TXID ${remembered.txid} of ${remembered.timeline} restores to other pages than SQLite showed`,
      );
    }
  }

  async #startWriters(changed: Partial<WorkloadOptions> = {}): Promise<void> {
    const common = (name: string): WorkloadOptions => ({
      databasePath: this.#database,
      name,
      seed: this.#prng.integer(0, 2 ** 31),
      pageSize: this.#pageSize,
      autoVacuum: "none",
      rowBytesMax: 900,
      blobBytesMax: 4 * this.#pageSize,
      walAutocheckpoint: "random",
      paused: true,
      onCommit: () => {
        this.#commits += 1;
      },
      ...changed,
    });
    const first = await startWorkload(common("first"));
    this.#writers = [first];
    const second =
      findSqliteShell() === undefined
        ? await startWorkload(common("second"))
        : await startShellWorkload(common("second"));
    this.#writers = [first, second];
  }

  async #stopWriters(): Promise<void> {
    for (const writer of this.#writers) await writer.stop();
    this.#writers = [];
  }

  async #killWriters(): Promise<void> {
    for (const writer of this.#writers) await writer.kill();
    this.#writers = [];
  }

  async #startEngine(
    checkpointPolicy: EngineOptions["checkpointPolicy"] = {
      passiveFrames: this.#prng.pick([5, 40, 400]),
      barrierBytes: this.#prng.pick([20, 100, 1000]) * (this.#pageSize + 24),
    },
  ): Promise<void> {
    this.#engine = await startEngine({
      database: this.#database,
      replica: this.#replica,
      syncIntervalMs: this.#prng.pick([5, 20, 1000]),
      checkpointPolicy,
      ...(this.#options.engineModule === undefined ? {} : { module: this.#options.engineModule }),
    });
  }

  async #stopEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop(false);
  }
}

/** The pages as SQLite's own pager sees them, WAL included. This process holds no lock of the engine's, so it may open and close. */
function hashThroughSqlite(path: string): string {
  const database = new Database(path, { readonly: true });
  try {
    return hashBytes(database.serialize());
  } finally {
    database.close();
  }
}

function checkpointTruncate(path: string): void {
  const database = new Database(path);
  try {
    database.pragma("wal_checkpoint(TRUNCATE)");
  } finally {
    database.close();
  }
}

function hashBytes(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function sleepMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
