import type { FileSyncEvent } from "./events.ts";
import type { PushOutcome } from "./push-types.ts";

/**
 * When pushes run, and nothing else: shortly after a hint, again for what waited, and by interval whatever is heard, since hints get
 * lost. Pushes never overlap.
 *
 * A look costs time, so the loop rests in proportion: under a stream of hints it looks for a tenth of the time at most. What waits
 * for something that makes no hint (a row of a database) is looked at again with growing pauses. After a failure the next try
 * comes with growing pauses too, and no hint hurries it.
 */
export interface PushLoopDeps {
  readonly push: (signal: AbortSignal) => Promise<PushOutcome>;
  /** The longest time between two looks. */
  readonly lookIntervalMs: number;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  /** Rejects with the signal's reason. */
  readonly sleep: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly onEvent: (event: FileSyncEvent) => void;
}

/** What belongs to one upload arrives within this. */
const debounceMs = 200;
const restFactor = 10;
const againMsMin = 2_000;
const backoffMsMin = 1_000;
const backoffMsMax = 60_000;

export class PushLoop {
  readonly #deps: PushLoopDeps;
  readonly #stopping = new AbortController();
  #isHinted = false;
  #hear: () => void = () => {};

  constructor(deps: PushLoopDeps) {
    this.#deps = deps;
  }

  /** Something may have changed. */
  hint(): void {
    if (this.#isHinted) return;
    this.#isHinted = true;
    this.#hear();
  }

  /** Looks at once, and goes on until `stop`. Failures of pushes are events and no end. */
  async run(): Promise<void> {
    const { push, nowMs, onEvent, lookIntervalMs } = this.#deps;
    const { signal } = this.#stopping;
    let againMs = againMsMin;
    let backoffMs = 0;
    while (!signal.aborted) {
      const wasHinted = this.#isHinted;
      this.#isHinted = false;
      const begunMs = nowMs();
      try {
        const { manifest, needsLook } = await push(signal);
        if (backoffMs > 0) onEvent({ type: "recovered" });
        backoffMs = 0;
        againMs =
          wasHinted || manifest !== undefined ? againMsMin : Math.min(againMs * 2, lookIntervalMs);
        const restMs = Math.max(debounceMs, (nowMs() - begunMs) * restFactor);
        await this.#rest(restMs, needsLook ? againMs : lookIntervalMs);
      } catch (error) {
        if (signal.aborted) break;
        backoffMs = Math.min(Math.max(backoffMs * 2, backoffMsMin), backoffMsMax);
        onEvent({ type: "failing", error, retryMs: backoffMs });
        await this.#sleep(backoffMs);
      }
    }
  }

  /** Aborts the push under way. `run` ends soon after. */
  stop(): void {
    this.#stopping.abort(new DOMException("the loop was stopped", "AbortError"));
  }

  /** Until there is a hint, not before `restMs`; without one until `dueMs`. */
  async #rest(restMs: number, dueMs: number): Promise<void> {
    await this.#sleep(Math.min(restMs, dueMs));
    const leftMs = dueMs - restMs;
    if (leftMs <= 0 || this.#isHinted || this.#stopping.signal.aborted) return;
    const heard = new AbortController();
    this.#hear = () => heard.abort();
    await this.#sleep(leftMs, heard.signal);
    this.#hear = () => {};
    // The first hint of many: the others follow at once.
    if (this.#isHinted) await this.#sleep(debounceMs);
  }

  /** Ends early, without an error, when it is told to or the loop is stopped. */
  async #sleep(delayMs: number, wake?: AbortSignal): Promise<void> {
    const { signal } = this.#stopping;
    const either = wake === undefined ? signal : AbortSignal.any([signal, wake]);
    await this.#deps.sleep(delayMs, either).catch((error: unknown) => {
      if (!either.aborted) throw error;
    });
  }
}
