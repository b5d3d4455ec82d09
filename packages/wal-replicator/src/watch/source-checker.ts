import type { TimelinePosition } from "../replica/epoch-record.ts";
import { describeFailure } from "../ship/describe-failure.ts";
import type { SourceCheckStatus } from "./source-check-record.ts";

export interface SourceCheckerDeps {
  /** The result of the last check in an earlier life, if there was one. */
  readonly load: () => Promise<SourceCheckStatus | undefined>;
  /** Looks through the database. @returns SQLite's complaints. Throws if it could not look. */
  readonly check: (signal: AbortSignal) => Promise<string | undefined>;
  /** The newest captured position; undefined: nothing is captured yet. */
  readonly position: () => TimelinePosition | undefined;
  /** Makes a result durable. */
  readonly save: (status: SourceCheckStatus) => Promise<void>;
  readonly emit: (event: SourceCheckEvent) => void;
  readonly policy: SourceCheckPolicy;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface SourceCheckPolicy {
  /** Between two checks, in milliseconds, over restarts too. */
  readonly intervalMs: number;
  /** A start has better things to do for so long, in milliseconds. */
  readonly settleMs: number;
}

export const defaultSourceCheckPolicy: SourceCheckPolicy = {
  intervalMs: 24 * 3_600_000,
  settleMs: 10 * 60_000,
};

/** The application's database was looked through. With a complaint it is damaged: what is stored since `lastSound` may be as bad. */
export interface SourceCheckedEvent extends SourceCheckStatus {
  readonly type: "source-checked";
}

/** The database could not be looked through: nothing is known about it. It is tried again within the hour. */
export interface SourceCheckFailingEvent {
  readonly type: "source-check-failing";
  readonly code: string;
  readonly message: string;
}

export type SourceCheckEvent = SourceCheckedEvent | SourceCheckFailingEvent;

/** The clock is looked at again after this time at the latest: it may have been set, and the machine may have slept. */
const lookIntervalMs = 3_600_000;

/**
 * Has the application's own database checked once a day. A replica of a damaged database is an exact copy of the damage, and an application often goes on for
 * months without meeting it (vaultwarden#2851), until all that was sound has been aged out.
 */
export class SourceChecker {
  readonly #deps: SourceCheckerDeps;
  #status: SourceCheckStatus | undefined;

  constructor(deps: SourceCheckerDeps) {
    this.#deps = deps;
  }

  /** Undefined: never checked, or `run` has not begun. */
  get status(): SourceCheckStatus | undefined {
    return this.#status;
  }

  /** The position that retention must keep a chain to: the last one that is known to be sound. */
  get protected(): readonly TimelinePosition[] {
    const lastSound = this.#status?.lastSound;
    return lastSound === undefined ? [] : [{ timeline: lastSound.timeline, txid: lastSound.txid }];
  }

  /** Checks whenever it is time, until the signal is aborted. A check that fails is told, and ends nothing. */
  async run(signal: AbortSignal): Promise<void> {
    const { policy, load, now, sleep } = this.#deps;
    try {
      this.#status ??= await load();
    } catch (error) {
      // An old result that cannot be read costs one check too many.
      this.#tell(error);
    }
    await sleep(policy.settleMs, signal);
    while (!signal.aborted) {
      const dueInMs =
        (this.#status?.checkedAtMs ?? Number.NEGATIVE_INFINITY) + policy.intervalMs - now();
      // A check in the future is of a clock that was wrong.
      if (dueInMs > 0 && dueInMs <= policy.intervalMs) {
        await sleep(Math.min(dueInMs, lookIntervalMs), signal);
        continue;
      }
      try {
        await this.checkNow(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#tell(error);
        await sleep(lookIntervalMs, signal);
      }
    }
  }

  /** @throws if it could not look, or its result not be kept. */
  async checkNow(signal: AbortSignal): Promise<void> {
    const { check, position, save, emit, now } = this.#deps;
    // What the check reads is at least this new.
    const checked = position();
    const beganMs = now();
    const complaint = await check(signal);
    const isSound = complaint === undefined && checked !== undefined;
    this.#status = {
      checkedAtMs: beganMs,
      durationMs: Math.max(0, now() - beganMs),
      complaint,
      lastSound: isSound
        ? { timeline: checked.timeline, txid: checked.txid, atMs: beganMs }
        : this.#status?.lastSound,
    };
    emit({ type: "source-checked", ...this.#status });
    await save(this.#status);
  }

  #tell(error: unknown): void {
    this.#deps.emit({ type: "source-check-failing", ...describeFailure(error) });
  }
}
