import { existsSync, realpathSync } from "node:fs";
import { ReplicationError } from "./errors.ts";
import type { FencedEvent } from "./events.ts";
import { makeSessionDeps, type ReplicatorDeps } from "./make-session-deps.ts";
import { Fenced } from "./replica/lease.ts";
import type {
  Position,
  ReplicateOptions,
  Replication,
  ReplicationStatus,
  StopOptions,
  StopResult,
} from "./replication.ts";
import type { Session } from "./ship/session.ts";
import type { SessionDeps } from "./ship/session-deps.ts";
import { DatabaseReplaced, StartAgain } from "./ship/session-ends.ts";
import { type SessionOrigin, startSession } from "./ship/start-session.ts";
import { isUnavailable } from "./start/outlook.ts";
import { waitForDatabase } from "./wait-for-database.ts";

/** Pause before a session is started again that the store did not let start. */
const restartPauseMs = 5_000;

/** Starts a stream in this process. Resolves when the anchor is held and the epoch taken: from then on no commit is missed. */
export async function startReplicator(
  options: ReplicateOptions,
  deps: ReplicatorDeps = {},
): Promise<Replication> {
  const replicator = new Replicator(options, deps);
  await replicator.start();
  return replicator;
}

/**
 * A stream over the lives of a database file and of our right to ship it: a session each. A new one follows when another file lies at the
 * path, when somebody else has taken over, or when a stranger writes into our timeline.
 */
class Replicator implements Replication {
  readonly ended: Promise<void>;
  readonly #options: ReplicateOptions;
  readonly #deps: SessionDeps;
  readonly #end = Promise.withResolvers<void>();
  #session: Promise<Session> | undefined;
  #stopping: Promise<StopResult> | undefined;
  #fencedBy: FencedEvent["by"] | undefined;
  /** Ends the waiting for a database that was deleted: without it, who stops would wait as well. */
  readonly #waiting = new AbortController();
  /** Ends the start of a branch, which goes on through a stop: it is what keeps the last commits. */
  readonly #branching = new AbortController();

  constructor(options: ReplicateOptions, deps: ReplicatorDeps) {
    this.#options = options;
    this.#deps = makeSessionDeps(options, deps);
    this.ended = this.#end.promise;
    this.ended.catch(() => {});
  }

  async start(): Promise<void> {
    await this.#waitForDatabase(this.#options.waitForDatabase === true, false);
    const session = this.#startSession({ kind: "table" });
    this.#session = session;
    this.#follow(await session);
  }

  async flush(options: { readonly signal?: AbortSignal } = {}): Promise<Position> {
    for (;;) {
      const session = await this.#current();
      try {
        return await session.flush(options.signal);
      } catch (error) {
        if (options.signal?.aborted === true || this.#stopping !== undefined) throw error;
        // The session is over. If another one follows, it has what this one captured.
        await session.ended.catch(() => {});
        if ((await this.#current()) === session) throw error;
      }
    }
  }

  async snapshot(options: { readonly signal?: AbortSignal } = {}): Promise<Position> {
    return (await this.#current()).snapshot(options.signal);
  }

  async status(): Promise<ReplicationStatus> {
    const status = (await this.#current()).status();
    return { ...status, fencedBy: this.#fencedBy };
  }

  stop(options: StopOptions = {}): Promise<StopResult> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop(options: StopOptions): Promise<StopResult> {
    this.#waiting.abort(
      existsSync(this.#options.database)
        ? new ReplicationError(
            "STOPPED",
            "the stream was stopped while it waited to go on",
            "What is captured waits in the spool, and the next start finds the rest in the database.",
          )
        : new ReplicationError(
            "DATABASE_MISSING",
            "the database was deleted while it was streamed, and has not come back",
            "What was stored of it can be restored; what was captured last may still be in its spool.",
          ),
    );
    const { timeoutMs } = options;
    const budget = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    budget?.addEventListener("abort", () => this.#branching.abort(budget.reason), { once: true });
    const session = await this.#current();
    const result = await session.stop(options).catch(async (error: unknown) => {
      // Fenced with the last word: what is captured still gets a place of its own.
      const origin = this.#originAfter(error);
      if (origin === undefined) throw error;
      return (await this.#startSession(origin, this.#branching.signal)).stop(options);
    });
    this.#end.resolve();
    return result;
  }

  #follow(session: Session): void {
    session.ended.catch((error: unknown) => {
      const next = this.#stopping === undefined ? this.#originAfter(error) : undefined;
      if (next === undefined) {
        this.#end.reject(error);
        return;
      }
      this.#session = this.#startAnew(next, error instanceof DatabaseReplaced);
      this.#session.then(
        (following) => this.#follow(following),
        (failure: unknown) => this.#end.reject(failure),
      );
    });
  }

  /** How the stream goes on behind what ended its session; undefined: it does not. */
  #originAfter(error: unknown): SessionOrigin | undefined {
    if (error instanceof DatabaseReplaced) {
      this.#deps.emit({ type: "database-replaced" });
      return { kind: "begin", because: "another database file lies at the path" };
    }
    if (error instanceof Fenced) {
      this.#fence(error);
      return { kind: "branch", because: error.message };
    }
    if (error instanceof StartAgain) return { kind: "table" };
    if (error instanceof ReplicationError && error.code === "FOREIGN_WRITE") {
      return { kind: "begin", because: error.message };
    }
    return undefined;
  }

  #fence({ by, message }: Fenced): void {
    const { epoch, owner, timeline } = by;
    const { host, pid } = owner;
    this.#fencedBy ??= { epoch, host, pid, timeline };
    this.#deps.emit({ type: "fenced", by: { epoch, host, pid, timeline }, message });
  }

  /** The application goes on meanwhile, and what it commits is found by the resume: a store that is away is waited for. */
  async #startAnew(first: SessionOrigin, isNewFile: boolean): Promise<Session> {
    let origin = first;
    // A branch is of the database that was streamed a moment ago.
    if (first.kind !== "branch") await this.#waitForDatabase(true, isNewFile);
    for (;;) {
      const signal = origin.kind === "branch" ? this.#branching.signal : this.#startSignal;
      try {
        return await this.#startSession(origin, signal);
      } catch (error) {
        if (error instanceof Fenced) {
          origin = this.#originAfter(error) ?? origin;
          continue;
        }
        if (!isUnavailable(error) || signal.aborted) throw error;
        const { code, message, hint } = error;
        const nothing = { waitingFiles: 0, waitingBytes: 0 };
        this.#deps.emit({
          type: "store-failing",
          code,
          message,
          hint,
          sinceMs: this.#deps.now(),
          ...nothing,
        });
        await this.#deps.sleep(restartPauseMs, signal);
      }
    }
  }

  /** SQLite's own files lie beside what a symbolic link leads to. So does the spool: one database has one, whatever it is called. */
  #startSession(origin: SessionOrigin, signal = this.#startSignal): Promise<Session> {
    const databasePath = realpathSync(this.#options.database);
    return startSession({ ...this.#deps, databasePath }, origin, signal);
  }

  get #startSignal(): AbortSignal {
    const { signal } = this.#options;
    const stopped = this.#waiting.signal;
    return signal === undefined ? stopped : AbortSignal.any([signal, stopped]);
  }

  #waitForDatabase(wait: boolean, isNew: boolean): Promise<void> {
    const { nowMs, sleep: pause } = this.#deps;
    const signal = this.#startSignal;
    // File times are of this machine's clock, not of the store's.
    const { now } = Date;
    return waitForDatabase({ ...this.#options, signal }, { wait, isNew, now, nowMs, sleep: pause });
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
