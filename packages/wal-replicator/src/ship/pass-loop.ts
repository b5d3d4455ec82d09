import { type FSWatcher, watch } from "node:fs";
import { streamStopped } from "./session-ends.ts";

/**
 * When passes run, and nothing else: at once on a change of the WAL after a quiet time, batched to the interval under constant
 * load, on request, and on a tick of a second: the safety net for notifications that never came, and what an application's own RESTART or TRUNCATE
 * checkpoint waits for, since the anchor moves with each pass. The tick is slow only where notifications have come, and once the anchor
 * holds nobody (`settle`).
 *
 * Pacing is by credits: each interval earns one, a pass that captured something costs one, and a quiet hour saves up at most
 * `creditsMax`. So an idle database ships a burst of commits one by one, each within milliseconds, and a busy one still
 * makes at most one object an interval (s3.md 8: 3,600 an hour).
 *
 * The WAL is watched from just before a pass until it changes, and not while a pass is due anyway: every write would wake us, and
 * costs the writer the notification. What was written before the watch began is seen by the pass.
 *
 * Passes never overlap. After an error the loop ends with it; but one that passes (a full disk) is only told to those who asked, and
 * the pass is tried again with growing pauses, or at once when somebody asks or knows better (`retry`).
 */
export interface PassLoopDeps {
  /** @returns whether something was captured. */
  readonly pass: () => Promise<boolean>;
  /** Called after a quiet time, for the anchor to hold nobody any more. @returns whether that is so until the next commit. */
  readonly settle: () => Promise<boolean>;
  /** Whether a pass that failed so is to be tried again. Nothing is lost by it: what was not captured is still in the WAL. */
  readonly isTemporary: (error: unknown) => boolean;
  /** Each time, and once it is over. */
  readonly onFailing: (error: unknown) => void;
  readonly onRecovered: () => void;
  readonly walPath: string;
  readonly intervalMs: number;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
}

const creditsMax = 60;
/** Commits of one request of an application follow each other within milliseconds: the second of them waits for the rest. */
const spacingMs = 10;
const tickMs = 1_000;
/** So many ticks without news are a quiet time. */
const quietTicks = 10;
/** Where nobody waits for a tick: each one wakes a process that is idle. */
const tickMsWhenSettled = 5_000;
/** Where no notification can be had (inotify's limit, a strange file system). */
const tickMsWithoutWatch = 100;
const backoffMsMin = 250;
const backoffMsMax = 10_000;

export class PassLoop {
  readonly #deps: PassLoopDeps;
  #watcher: FSWatcher | undefined;
  #changed = false;
  /** Whether the last commit that was found was one of which we had been told. */
  #isWatchTrusted = false;
  #ticksWithoutNews = 0;
  #isSettled = false;
  #requests: PromiseWithResolvers<void>[] = [];
  #stopped = false;
  /** Why no pass will run any more. */
  #ended: unknown;
  #wake: () => void = () => {};
  #credits = creditsMax;
  #creditedAtMs: number;
  #passEndedAtMs: number;
  /** While passes fail: the pause before the next one. A change of the WAL is no reason then: it would be tried for each commit. */
  #pauseMs: number | undefined;

  constructor(deps: PassLoopDeps) {
    this.#deps = deps;
    this.#creditedAtMs = deps.nowMs();
    this.#passEndedAtMs = this.#creditedAtMs;
  }

  /** Resolves when a pass that began after this call has ended. */
  request(): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended as Error);
    const request = Promise.withResolvers<void>();
    this.#requests.push(request);
    this.#wake();
    return request.promise;
  }

  /** What made passes fail may be over: while they do, the next one runs at once. */
  retry(): void {
    if (this.#pauseMs === undefined) return;
    this.#pauseMs = 0;
    this.#wake();
  }

  /** Runs until `stop`. @throws what a pass threw. */
  async run(): Promise<void> {
    let pauseMs = 0;
    try {
      while (!this.#stopped || this.#requests.length > 0) {
        await this.#waitForReason();
        if (this.#stopped && this.#requests.length === 0) break;
        const requests = this.#requests;
        this.#requests = [];
        const isTold = this.#changed;
        this.#changed = false;
        this.#watch();
        try {
          const captured = await this.#deps.pass();
          if (captured) {
            this.#credits -= 1;
            // Who asked may have been quicker than the notification, which says nothing about it.
            if (isTold || requests.length === 0) this.#isWatchTrusted = isTold;
          }
          await this.#settle({ isQuiet: !captured && !isTold, isTick: requests.length === 0 });
        } catch (error) {
          for (const request of requests) request.reject(error);
          if (!this.#deps.isTemporary(error)) throw error;
          this.#passEndedAtMs = this.#deps.nowMs();
          pauseMs = Math.min(Math.max(pauseMs * 2, backoffMsMin), backoffMsMax);
          this.#pauseMs = pauseMs;
          this.#deps.onFailing(error);
          continue;
        }
        this.#passEndedAtMs = this.#deps.nowMs();
        if (this.#pauseMs !== undefined) {
          pauseMs = 0;
          this.#pauseMs = undefined;
          this.#deps.onRecovered();
        }
        for (const request of requests) request.resolve();
      }
    } catch (error) {
      this.#end(error);
      throw error;
    } finally {
      this.#unwatch();
      this.#end(streamStopped());
    }
  }

  /** Ends `run` after the pass under way and the requests made so far. */
  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  #end(reason: unknown): void {
    this.#ended ??= reason;
    for (const request of this.#requests) request.reject(this.#ended);
    this.#requests = [];
  }

  async #settle({ isQuiet, isTick }: { isQuiet: boolean; isTick: boolean }): Promise<void> {
    if (!isQuiet) {
      this.#ticksWithoutNews = 0;
      this.#isSettled = false;
    } else if (isTick && !this.#isSettled) {
      this.#ticksWithoutNews += 1;
      if (this.#ticksWithoutNews % quietTicks === 0) this.#isSettled = await this.#deps.settle();
    }
  }

  async #waitForReason(): Promise<void> {
    while (!this.#stopped && this.#requests.length === 0) {
      const nowMs = this.#deps.nowMs();
      const dueMs = this.#dueMs(nowMs);
      if (nowMs >= dueMs) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, dueMs - nowMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => {};
    }
  }

  #dueMs(nowMs: number): number {
    if (this.#pauseMs !== undefined) return this.#passEndedAtMs + this.#pauseMs;
    return this.#changed ? this.#changeDueMs(nowMs) : this.#passEndedAtMs + this.#tickMs;
  }

  #changeDueMs(nowMs: number): number {
    const earned = (nowMs - this.#creditedAtMs) / this.#deps.intervalMs;
    this.#creditedAtMs = nowMs;
    this.#credits = Math.min(creditsMax, this.#credits + earned);
    const untilCreditMs = Math.max(0, 1 - this.#credits) * this.#deps.intervalMs;
    return Math.max(nowMs + untilCreditMs, this.#passEndedAtMs + spacingMs);
  }

  get #tickMs(): number {
    if (this.#watcher === undefined) return tickMsWithoutWatch;
    return this.#isWatchTrusted && this.#isSettled ? tickMsWhenSettled : tickMs;
  }

  #watch(): void {
    if (this.#watcher !== undefined) return;
    try {
      this.#watcher = watch(this.#deps.walPath, () => this.#onChange());
      // The tick still runs: a lost watcher costs latency, never a commit.
      this.#watcher.on("error", () => this.#unwatch());
    } catch {
      // No WAL yet, or no notifications to be had: the next pass tries again.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #onChange(): void {
    this.#unwatch();
    if (this.#changed) return;
    this.#changed = true;
    this.#wake();
  }
}
