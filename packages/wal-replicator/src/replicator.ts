import { randomBytes } from "node:crypto";
import { realpathSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type ObjectStore, openObjectStore } from "@vaultwarden-stream/object-store";
import { ReplicationError } from "./errors.ts";
import type { ReplicationEvent } from "./events.ts";
import { retrying } from "./open-replica-root.ts";
import type {
  Position,
  ReplicateOptions,
  Replication,
  ReplicationStatus,
  StopOptions,
  StopResult,
} from "./replication.ts";
import { type CheckpointPolicy, defaultCheckpointPolicy } from "./ship/checkpointer.ts";
import type { CrashPointListener } from "./ship/crash-point.ts";
import { DatabaseReplaced, type Session } from "./ship/session.ts";
import type { SessionDeps } from "./ship/session-deps.ts";
import { startSession } from "./ship/start-session.ts";
import { waitForDatabase } from "./wait-for-database.ts";

/** What tests put in the place of the world. */
export interface ReplicatorDeps {
  /** Instead of what the URL names. */
  readonly store?: ObjectStore;
  readonly at?: CrashPointListener;
  readonly checkpointPolicy?: CheckpointPolicy;
  /** Milliseconds since the Unix epoch. */
  readonly now?: () => number;
}

/** Starts a stream in this process. Resolves when the anchor is held and the epoch taken: from then on no commit is missed. */
export async function startReplicator(
  options: ReplicateOptions,
  deps: ReplicatorDeps = {},
): Promise<Replication> {
  const replicator = new Replicator(options, deps);
  await replicator.start();
  return replicator;
}

/** A stream over the lives of a database file: a session each, and a new one when another file lies at the path. */
class Replicator implements Replication {
  readonly ended: Promise<void>;
  readonly #options: ReplicateOptions;
  readonly #deps: SessionDeps;
  readonly #end = Promise.withResolvers<void>();
  #session: Promise<Session> | undefined;
  #stopping: Promise<StopResult> | undefined;
  /** Ends the waiting for a database that was deleted: without it, who stops would wait as well. */
  readonly #waiting = new AbortController();

  constructor(options: ReplicateOptions, deps: ReplicatorDeps) {
    const store = deps.store ?? openObjectStore(options.replica);
    const root = { prefix: "", timelinesUnder: options.timelinesUnder ?? "" };
    this.#options = options;
    this.#deps = {
      databasePath: options.database,
      replica: { ...root, store },
      retryingReplica: { ...root, store: retrying(store) },
      Database: options.Database,
      syncIntervalMs: options.syncIntervalMs ?? 1_000,
      checkpointPolicy: deps.checkpointPolicy ?? defaultCheckpointPolicy,
      emit: (event: ReplicationEvent) => options.onEvent?.(event),
      now: deps.now ?? Date.now,
      nowMs: () => performance.now(),
      sleep: async (ms, signal) => {
        await sleep(ms, undefined, { signal }).catch(() => {}); // aborted: the caller looks at its signal
      },
      randomBytes: (count) => randomBytes(count),
      at: deps.at ?? (() => {}),
    };
    this.ended = this.#end.promise;
    this.ended.catch(() => {});
  }

  async start(): Promise<void> {
    await this.#waitForDatabase(this.#options.waitForDatabase === true, false);
    const session = this.#startSession(undefined);
    this.#session = session;
    this.#follow(await session);
  }

  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<Position> {
    return (await this.#current()).flush(options.signal);
  }

  async status(): Promise<ReplicationStatus> {
    return (await this.#current()).status();
  }

  stop(options: StopOptions = {}): Promise<StopResult> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    this.#waiting.abort(
      new ReplicationError(
        "DATABASE_MISSING",
        "the database was deleted while it was streamed, and has not come back",
        "What was stored of it can be restored; what was captured last may still be in its spool.",
      ),
    );
    const session = await this.#current();
    const result = await session.stop(options);
    this.#end.resolve();
    return result;
  }

  #follow(session: Session): void {
    session.ended.catch((error: unknown) => {
      if (!(error instanceof DatabaseReplaced) || this.#stopping !== undefined) {
        this.#end.reject(error);
        return;
      }
      this.#deps.emit({ type: "database-replaced" });
      this.#session = this.#startAnew();
      this.#session.then(
        (next) => this.#follow(next),
        (failure: unknown) => this.#end.reject(failure),
      );
    });
  }

  async #startAnew(): Promise<Session> {
    await this.#waitForDatabase(true, true);
    return this.#startSession("another database file lies at the path");
  }

  /** SQLite's own files lie beside what a symbolic link leads to. So does the spool: one database has one, whatever it is called. */
  #startSession(newTimelineBecause: string | undefined): Promise<Session> {
    const databasePath = realpathSync(this.#options.database);
    return startSession({ ...this.#deps, databasePath }, newTimelineBecause);
  }

  #waitForDatabase(wait: boolean, isNew: boolean): Promise<void> {
    const { nowMs, sleep: pause } = this.#deps;
    const { signal: given } = this.#options;
    const stopped = this.#waiting.signal;
    const signal = given === undefined ? stopped : AbortSignal.any([given, stopped]);
    return waitForDatabase({ ...this.#options, signal }, { wait, isNew, nowMs, sleep: pause });
  }

  #current(): Promise<Session> {
    if (this.#session === undefined) {
      return Promise.reject(
        new ReplicationError("STOPPED", "the stream has not started", "Start it first."),
      );
    }
    return this.#session;
  }
}
