import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import { ReplicationError } from "../errors.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import { ReplicaError } from "../replica/replica-error.ts";
import { coded } from "../restore/restore-file.ts";
import { describeFailure } from "../ship/describe-failure.ts";
import { spoolDirectory } from "../ship/spool.ts";
import { type FileLock, lockFile } from "../sqlite/file-lock.ts";
import { CopyKeeper } from "./copy-keeper.ts";
import { type CopyPlace, copyPlace, removeUnfinished } from "./copy-place.ts";
import type { CopyPosition } from "./copy-state.ts";
import type { FollowEnd, Follower, FollowOptions, FollowStatus } from "./follow.ts";
import type { FollowCrashPointListener } from "./follow-crash-point.ts";
import type { FollowEvent } from "./follow-events.ts";
import { Poller } from "./poller.ts";

export interface FollowerDeps {
  /** Behind retries. */
  readonly root: ReplicaRoot;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Resolves after the time, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly at: FollowCrashPointListener;
}

/** The life of a follower: begins, polls, says how it is, and ends. What it does at a poll is `Poller`'s, and to the copy `CopyKeeper`'s. */
export class RunningFollower implements Follower {
  readonly ready: Promise<void>;
  readonly done: Promise<FollowEnd | undefined>;
  readonly #options: FollowOptions;
  readonly #deps: FollowerDeps;
  readonly #place: CopyPlace;
  readonly #keeper: CopyKeeper;
  readonly #poller: Poller;
  readonly #stopping = new AbortController();
  readonly #startedAtMs: number;
  #state: FollowStatus["state"] = "opening";
  #failure:
    | { readonly code: string; readonly message: string; readonly sinceMs: number }
    | undefined;
  #stalledSinceMs: number | undefined;
  #isReady = false;
  /** Where the copy stood when it was last known. */
  #position: CopyPosition | undefined;

  constructor(options: FollowOptions, deps: FollowerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#startedAtMs = deps.now();
    this.#place = copyPlace(options.output);
    const { root, now, nowMs, sleep, at } = deps;
    const { timeline: named, pollIntervalMs = defaultPollIntervalMs } = options;
    this.#keeper = new CopyKeeper({
      ...{ root, named, nowMs, sleep, at, place: this.#place },
      emit: (event) => this.#emit(event),
      onProgress: (progress) => options.onProgress?.(progress),
      onBlocked: (forMs) => this.#noteBlocked(forMs),
    });
    this.#poller = new Poller({
      ...{ root, named, pollIntervalMs, now, nowMs, place: this.#place, keeper: this.#keeper },
    });
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.done = this.#run(ready.resolve);
    // Whoever waits for either sees it; nobody has to wait for both.
    this.done.then(() => ready.reject(stopped()), ready.reject);
    this.ready.catch(() => {});
    this.done.catch(() => {});
  }

  status(): FollowStatus {
    const { now } = this.#deps;
    const position = this.#keeper.position ?? this.#position;
    const failure = this.#failure;
    return {
      state: this.#state,
      timeline: position?.timeline,
      txid: position?.txid,
      at: position === undefined ? undefined : new Date(position.timestampMs),
      lagMs: Math.max(0, now() - (this.#poller.currentAtMs ?? this.#startedAtMs)),
      failure: failure && { code: failure.code, message: failure.message },
    };
  }

  stop(): Promise<FollowEnd | undefined> {
    this.#stopping.abort(stopped());
    return this.done;
  }

  /** A request failed and is sent again: that is no news of the loop's own, which waits for it. */
  noteRetry(error: unknown): void {
    this.#fail(error);
  }

  async #run(onReady: () => void): Promise<FollowEnd | undefined> {
    const { signal } = this.#stopping;
    const watch = setInterval(() => this.#lookAtLag(), watchIntervalMs);
    watch.unref();
    let lock: FileLock | undefined;
    try {
      lock = await this.#begin();
      await coded(this.#place.path, () => removeUnfinished(this.#place));
      await this.#open();
      onReady();
      this.#isReady = true;
      await this.#pollUntil(signal);
      return await this.#end();
    } catch (error) {
      if (signal.aborted && !this.#isReady) return undefined;
      throw error;
    } finally {
      clearInterval(watch);
      this.#state = "stopped";
      await this.#keeper.close();
      lock?.release();
    }
  }

  async #begin(): Promise<FileLock> {
    const { path, directory, lock } = this.#place;
    const spool = spoolDirectory(path);
    if (existsSync(spool)) {
      throw new ReplicationError(
        "COPY_CHANGED",
        `${path} is, or was, a database of its own: a stream's spool lies beside it, ${spool}`,
        "Follow into another file.",
      );
    }
    await coded(path, () => mkdir(directory, { recursive: true, mode: 0o700 }));
    try {
      return lockFile(lock);
    } catch (error) {
      if (!(error instanceof ReplicationError)) throw error;
      // biome-ignore lint/style/useErrorCause: the cause is in the details.
      throw new ReplicationError(
        "COPY_IN_USE",
        `another process follows into ${path}`,
        "Stop it first, or follow into another file.",
        { cause: error },
      );
    }
  }

  /** The first time: a copy that is there already is followed on by and by, and one that is not is restored now or not at all. */
  async #open(): Promise<void> {
    const { overwrite = false, signal: starting } = this.#options;
    const either = [this.#stopping.signal, ...(starting === undefined ? [] : [starting])];
    await this.#keeper.ensure(overwrite, AbortSignal.any(either));
    this.#notePosition();
    this.#state = "following";
  }

  async #pollUntil(signal: AbortSignal): Promise<void> {
    const { pollIntervalMs = defaultPollIntervalMs } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      let pauseMs = pollIntervalMs;
      try {
        await this.#keeper.ensure(false, signal);
        const isMore = await this.#poller.poll(signal);
        this.#notePosition();
        failures = 0;
        this.#recover();
        if (isMore) continue;
      } catch (error) {
        if (signal.aborted) return;
        if (!isPassing(error)) throw error;
        this.#fail(error);
        failures += 1;
        pauseMs = Math.min(pollIntervalMs * 2 ** failures, Math.max(pauseMsMax, pollIntervalMs));
      }
      await this.#deps.sleep(pauseMs, signal);
    }
  }

  async #end(): Promise<FollowEnd | undefined> {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(stopped()), endMsMax);
    try {
      const { position } = this.#keeper;
      const isVerbatim = await this.#keeper.end(patience.signal);
      if (position === undefined) return undefined;
      const { timeline, txid, timestampMs, rollingChecksum } = position;
      return { timeline, txid, at: new Date(timestampMs), rollingChecksum, isVerbatim };
    } finally {
      clearTimeout(timer);
    }
  }

  #notePosition(): void {
    this.#position = this.#keeper.position ?? this.#position;
  }

  #emit(event: FollowEvent): void {
    if (event.type === "copy-restoring") this.#state = "restoring";
    else if (event.type !== "copy-blocked" && this.#failure === undefined)
      this.#state = "following";
    this.#options.onEvent?.(event);
  }

  #noteBlocked(forMs: number): void {
    if (this.#state === "blocked" || forMs < blockedMsMin) return;
    this.#state = "blocked";
    this.#emit({ type: "copy-blocked", forMs });
  }

  #fail(error: unknown): void {
    const { code, message } = describeFailure(error);
    const isNews = this.#failure?.code !== code;
    this.#failure = { code, message, sinceMs: this.#failure?.sinceMs ?? this.#deps.nowMs() };
    if (this.#isReady) this.#state = "failing";
    const { hint } = error as { readonly hint?: string };
    if (isNews) this.#emit({ type: "follow-failing", code, message, hint });
  }

  #recover(): void {
    this.#state = "following";
    if (this.#stalledSinceMs !== undefined && this.status().lagMs >= this.#lagMsMax) return;
    const sinceMs = this.#failure?.sinceMs ?? this.#stalledSinceMs;
    this.#failure = undefined;
    this.#stalledSinceMs = undefined;
    if (sinceMs === undefined) return;
    this.#emit({ type: "follow-recovered", failedForMs: this.#deps.nowMs() - sinceMs });
  }

  /** Beside the loop, which may be the one that hangs. */
  #lookAtLag(): void {
    const { lagMs } = this.status();
    if (!this.#isReady || this.#stalledSinceMs !== undefined || lagMs < this.#lagMsMax) return;
    this.#stalledSinceMs = this.#deps.nowMs() - lagMs;
    this.#emit({ type: "follow-stalled", lagMs });
  }

  get #lagMsMax(): number {
    const { pollIntervalMs = defaultPollIntervalMs } = this.#options;
    return Math.max(stallMs, 3 * pollIntervalMs);
  }
}

const defaultPollIntervalMs = 1_000;
const pauseMsMax = 30_000;
const watchIntervalMs = 1_000;
/** A lag that is said. */
const stallMs = 30_000;
const blockedMsMin = 2_000;
/** How long the end waits for readers. */
const endMsMax = 5_000;

/** What passes by itself, or when somebody does something elsewhere. All else ends the follower. */
function isPassing(error: unknown): boolean {
  if (error instanceof ObjectStoreError || error instanceof ReplicaError) return true;
  return error instanceof ReplicationError && error.code === "HELPER_FAILED";
}

function stopped(): ReplicationError {
  return new ReplicationError("STOPPED", "the follower was stopped", "Start it again.");
}
