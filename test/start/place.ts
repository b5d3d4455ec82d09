/** One store and the hosts that stream to it, each with files of its own, for tests of what a start does with what it finds. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import {
  type PreparedDatabase,
  type PrepareOptions,
  prepareDatabase,
  type ReplicateOptions,
  type Replication,
  type ReplicationEvent,
  type RestoreReplicaOptions,
  type RestoreResult,
  restore,
  spoolDirectory,
} from "wal-replicator";
import { type ReplicatorDeps, startReplicator } from "wal-replicator/internals";
import { type EngineOptions, type LaunchedEngine, launchEngine } from "../support/engine.ts";

export class Place implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "start-"));
  /** Directory of the store. */
  readonly replica: string = join(this.directory, "store");
  readonly #ends: (() => Promise<unknown>)[] = [];
  #restoreCount = 0;

  host(name: string): Host {
    return new Host(this, name);
  }

  /** What a restore gives, on another machine, verified against the checksum that was recorded when it was captured. */
  async restored(
    options: Omit<RestoreReplicaOptions, "replica" | "target"> = {},
  ): Promise<{ readonly path: string; readonly result: RestoreResult }> {
    this.#restoreCount += 1;
    const path = join(this.directory, `restored-${this.#restoreCount}`, "app.db");
    const result = await restore({ replica: this.replica, target: path, ...options });
    if (!result.isRollingChecksumProved) throw new Error("nothing proves the restored database");
    return { path, result };
  }

  async rows(options: Omit<RestoreReplicaOptions, "replica" | "target"> = {}): Promise<string[]> {
    return rowsOf((await this.restored(options)).path);
  }

  /** All that is here, in a place of its own. */
  copy(): Place {
    const copy = new Place();
    copyTree(this.directory, copy.directory);
    return copy;
  }

  timelineDirectory(timeline: string): string {
    return join(this.replica, timeline);
  }

  atEnd(end: () => Promise<unknown>): void {
    this.#ends.push(end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#ends.map((end) => end()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export class Host {
  readonly directory: string;
  readonly database: string;
  readonly #place: Place;

  constructor(place: Place, name: string) {
    this.#place = place;
    this.directory = join(place.directory, name);
    this.database = join(this.directory, "app.db");
    mkdirSync(this.directory, { recursive: true });
  }

  get spool(): string {
    return spoolDirectory(this.database);
  }

  /** Commits a row each, with the one copy of SQLite that the engine in this process uses as well. */
  write(...rows: readonly string[]): void {
    const connection = new BetterSqlite3(this.database);
    try {
      connection.pragma("journal_mode = wal");
      connection.exec("CREATE TABLE IF NOT EXISTS t (who TEXT)");
      const insert = connection.prepare("INSERT INTO t VALUES (?)");
      for (const row of rows) insert.run(row);
    } finally {
      connection.close();
    }
  }

  rows(): string[] {
    return rowsOf(this.database);
  }

  /** Every file, but the spool's lock: that one is there as soon as somebody has looked. */
  listing(): string[] {
    return listing(this.directory).filter((entry) => !/-replica\/lock /.test(entry));
  }

  deleteDatabase(): void {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(this.database + suffix, { force: true });
  }

  /** All that is here, as `cp -a` of the volume makes it, under another name. */
  copyTo(name: string): Host {
    const copy = this.#place.host(name);
    copyTree(this.directory, copy.directory);
    return copy;
  }

  /** Puts back what `copyTo` has saved: an old volume. The spool keeps its directory, and so its identity, if that is wanted. */
  bringBack(copy: Host, options: { readonly keepsIdentity: boolean }): void {
    for (const entry of readdirSync(this.directory)) {
      const path = join(this.directory, entry);
      if (!options.keepsIdentity || path !== this.spool) {
        rmSync(path, { recursive: true });
        continue;
      }
      for (const inside of readdirSync(path)) rmSync(join(path, inside), { recursive: true });
    }
    copyTree(copy.directory, this.directory);
  }

  prepare(
    options: Partial<PrepareOptions> = {},
    deps: ReplicatorDeps = {},
  ): Promise<PreparedDatabase> {
    return prepareDatabase(
      { database: this.database, replica: this.#place.replica, ...options },
      deps,
    );
  }

  /** A stream in this process. */
  async stream(
    options: Partial<ReplicateOptions> = {},
    deps: ReplicatorDeps = {},
  ): Promise<Stream> {
    const stream = this.launchStream(options, deps);
    await stream.started;
    return stream;
  }

  /** A stream in this process whose start may take as long as another's lease lives. */
  launchStream(options: Partial<ReplicateOptions> = {}, deps: ReplicatorDeps = {}): Stream {
    const stream = new Stream((onEvent, signal) =>
      startReplicator(
        {
          database: this.database,
          replica: this.#place.replica,
          syncIntervalMs: 5,
          onEvent,
          signal,
          ...options,
        },
        deps,
      ),
    );
    this.#place.atEnd(() => stream.end());
    return stream;
  }

  /** A stream in a process of its own, which can be killed. */
  async streamInChild(options: Partial<EngineOptions> = {}): Promise<LaunchedEngine> {
    const engine = await this.launch(options);
    await engine.started;
    return engine;
  }

  /** The same, whose start may fail or take as long as another's lease lives. */
  async launch(options: Partial<EngineOptions> = {}): Promise<LaunchedEngine> {
    const engine = await launchEngine({
      database: this.database,
      replica: this.#place.replica,
      syncIntervalMs: 5,
      ...options,
    });
    this.#place.atEnd(() => engine.kill());
    return engine;
  }
}

type EventOf<T extends ReplicationEvent["type"]> = Extract<ReplicationEvent, { type: T }>;

export class Stream {
  readonly events: ReplicationEvent[] = [];
  /** Resolves when it streams. */
  readonly started: Promise<void>;
  readonly #replication: Promise<Replication>;
  readonly #waiting = new AbortController();
  readonly #watchers = new Set<(event: ReplicationEvent) => void>();

  constructor(
    start: (
      onEvent: (event: ReplicationEvent) => void,
      signal: AbortSignal,
    ) => Promise<Replication>,
  ) {
    this.#replication = start((event) => {
      this.events.push(event);
      for (const watch of this.#watchers) watch(event);
    }, this.#waiting.signal);
    this.started = this.#replication.then(() => {});
    this.started.catch(() => {}); // whoever cares awaits it
  }

  /** Resolves with the first event of the type, of those that were and those to come. */
  waitFor<T extends ReplicationEvent["type"]>(
    type: T,
    fits: (event: EventOf<T>) => boolean = () => true,
  ): Promise<EventOf<T>> {
    const isWanted = (event: ReplicationEvent): event is EventOf<T> =>
      event.type === type && fits(event as EventOf<T>);
    const past = this.events.find(isWanted);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve) => {
      const watch = (event: ReplicationEvent): void => {
        if (!isWanted(event)) return;
        this.#watchers.delete(watch);
        resolve(event);
      };
      this.#watchers.add(watch);
    });
  }

  async flush(): ReturnType<Replication["flush"]> {
    return (await this.#replication).flush();
  }

  async status(): ReturnType<Replication["status"]> {
    return (await this.#replication).status();
  }

  async stop(options?: Parameters<Replication["stop"]>[0]): ReturnType<Replication["stop"]> {
    return (await this.#replication).stop(options);
  }

  get ended(): Promise<void> {
    return this.#replication.then((replication) => replication.ended);
  }

  /** Whatever state it is in. */
  async end(): Promise<void> {
    this.#waiting.abort();
    await (await this.#replication).stop({ timeoutMs: 100 });
  }
}

/** In the order of their writing. */
export function rowsOf(path: string): string[] {
  const connection = new BetterSqlite3(path, { fileMustExist: true });
  try {
    return connection.prepare("SELECT who FROM t ORDER BY rowid").pluck().all() as string[];
  } finally {
    connection.close();
  }
}

/** Every file below a directory with a digest of its content, sorted; nothing for a directory that is not there. */
export function listing(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => {
      const digest = createHash("sha256").update(readFileSync(path)).digest("hex");
      return `${relative(directory, path)} ${digest}`;
    })
    .sort();
}

/** By another process: closing a descriptor of a database in this one would drop the engine's locks. */
function copyTree(from: string, to: string): void {
  const run = spawnSync("cp", ["-a", "--", `${from}/.`, to], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`cp failed: ${run.stderr}`);
}
