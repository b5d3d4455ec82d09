import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  createPrng,
  readDatabaseImage,
  startWorkload,
  type Workload,
} from "@vaultwarden-stream/testkit";
import { formatTxid } from "wal-replicator";
import { type Engine, startEngine } from "../support/engine.ts";

/** What SQLite showed when nobody wrote, and where the stream stood then. */
export interface RememberedState {
  readonly timeline: string;
  /** 16 hex digits. */
  readonly txid: string;
  /** Of all pages in order. */
  readonly sha256: string;
}

export interface StreamedDatabaseOptions {
  /** Exists; everything lies in it. */
  readonly directory: string;
  /** Where the engine stores; several databases may share it, one after the other. */
  readonly replica: string;
  readonly seed: number;
  readonly pageSize: number;
  /** Leave the levels as they are shipped. */
  readonly maintenance?: false;
}

/** A database under a writer of its own process, streamed by the engine in another. Disposing of it kills both. */
export class StreamedDatabase implements AsyncDisposable {
  readonly path: string;
  readonly remembered: RememberedState[] = [];
  readonly #options: StreamedDatabaseOptions;
  #writer: Workload | undefined;
  #engine: Engine | undefined;

  constructor(options: StreamedDatabaseOptions) {
    this.#options = options;
    this.path = join(options.directory, "app.db");
  }

  async start(): Promise<void> {
    const { seed, pageSize, replica, maintenance } = this.#options;
    await this.startWriter();
    this.#engine = await startEngine({
      ...(maintenance === undefined ? {} : { maintenance }),
      database: this.path,
      replica,
      // A copy does not wait until the killed original's lease is stale.
      ifHeld: "take-over",
      // Small, so that checkpoints and restarts of the WAL happen within few commits.
      checkpointPolicy: { passiveFrames: 20, barrierBytes: 60 * (pageSize + 24) },
      syncIntervalMs: createPrng(seed).pick([5, 50]),
    });
  }

  async startWriter(): Promise<void> {
    const { seed, pageSize } = this.#options;
    this.#writer = await startWorkload({
      databasePath: this.path,
      seed,
      pageSize,
      autoVacuum: createPrng(seed).pick(["none", "full", "incremental"] as const),
      blobBytesMax: 5 * pageSize,
      walAutocheckpoint: "random",
      // A file for each of few commits, instead of one for all of them.
      stepsPerSecond: 40,
      paused: true,
    });
  }

  /** Lets the writer commit for a while, waits until all of it is stored, and remembers the state. */
  async writeAndRemember(ms: number): Promise<RememberedState> {
    await this.write(ms);
    const position = await (this.#engine as Engine).flush();
    const { sha256 } = await readDatabaseImage(this.path);
    const state = { timeline: position.timeline, txid: formatTxid(position.txid), sha256 };
    this.remembered.push(state);
    return state;
  }

  async write(ms: number): Promise<void> {
    this.#writer?.resume();
    await new Promise((resolve) => setTimeout(resolve, ms));
    await this.#writer?.pause();
  }

  /** Everything is stored and the timeline released. */
  async stopEngine(): Promise<void> {
    await this.#engine?.stop(false);
    this.#engine = undefined;
  }

  /** Both die at once. */
  async kill(): Promise<void> {
    await this.#engine?.kill();
    await this.#writer?.kill();
    this.#engine = undefined;
    this.#writer = undefined;
  }

  /** The volume as a backup tool or a cloned machine brings it: database, WAL and spool. To be called when nothing runs. */
  async copyVolume(directory: string): Promise<StreamedDatabase> {
    await mkdir(directory, { recursive: true });
    for (const name of ["app.db", "app.db-wal", ".app.db-replica"]) {
      await cp(join(this.#options.directory, name), join(directory, name), { recursive: true });
    }
    return new StreamedDatabase({ ...this.#options, directory, seed: this.#options.seed + 1 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
