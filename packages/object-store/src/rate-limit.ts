import { abortable } from "./abortable.ts";
import type { UploadClass } from "./upload-class.ts";

export interface RateLimitOptions {
  /** Of all bodies together, in bytes per second. At least 1. */
  readonly bytesPerSecond: number;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

/** Who has sent nothing for long may send so much at once, in milliseconds of the rate. */
const burstMs = 250;
/** Of so many turns under load, one is for the background: an upload that gets none at all runs into the store's time-out. */
const turnsPerBackground = 8;

interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

/**
 * A rate of bytes that many uploads share. Whoever wants to send waits for their turn first: the stream before the background, and within
 * one class first come, first served. It counts what is sent and knows nothing of stores. Idle it has no timer.
 */
export class RateLimit {
  readonly #options: RateLimitOptions;
  readonly #waiting: Record<"stream" | "background", Waiter[]> = { stream: [], background: [] };
  /** When everything that was granted will have been sent. */
  #freeAtMs = Number.NEGATIVE_INFINITY;
  #turnCount = 0;
  #isServing = false;

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Bodies are cut to this size, so that nobody waits longer than an eighth of a second for somebody else's piece. */
  get pieceBytes(): number {
    return Math.min(64 * 1024, Math.max(1, Math.floor(this.#options.bytesPerSecond / 8)));
  }

  /** Resolves when so many bytes may be sent. @throws the reason, if the signal is aborted before. */
  async take(bytes: number, uploadClass: UploadClass, signal?: AbortSignal): Promise<void> {
    if (uploadClass === "free") return;
    signal?.throwIfAborted();
    const turn = Promise.withResolvers<void>();
    const queue = this.#waiting[uploadClass];
    const waiter = { bytes, grant: turn.resolve };
    queue.push(waiter);
    if (!this.#isServing) void this.#serve();
    try {
      await abortable(turn.promise, signal);
    } catch (error) {
      const index = queue.indexOf(waiter);
      if (index >= 0) queue.splice(index, 1);
      throw error;
    }
  }

  async #serve(): Promise<void> {
    const { bytesPerSecond, nowMs, sleep } = this.#options;
    this.#isServing = true;
    try {
      while (this.#waiting.stream.length + this.#waiting.background.length > 0) {
        const earlyMs = this.#freeAtMs - nowMs();
        // Chosen only when the line is free: who comes meanwhile and is more urgent goes first.
        if (earlyMs > 0) {
          await sleep(earlyMs);
          continue;
        }
        const waiter = this.#next();
        this.#freeAtMs =
          Math.max(this.#freeAtMs, nowMs() - burstMs) + (waiter.bytes / bytesPerSecond) * 1_000;
        waiter.grant();
      }
    } finally {
      this.#isServing = false;
    }
  }

  #next(): Waiter {
    const { stream, background } = this.#waiting;
    this.#turnCount += 1;
    const isBackgroundsTurn = this.#turnCount % turnsPerBackground === 0;
    const first = isBackgroundsTurn ? background : stream;
    const second = isBackgroundsTurn ? stream : background;
    return (first.shift() ?? second.shift()) as Waiter;
  }
}
