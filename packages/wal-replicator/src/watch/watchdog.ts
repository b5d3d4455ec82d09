/**
 * Notices a stage of the stream that has something to do and does not get on, although no error says so: the way in which replication fails in
 * silence (litestream#1083, #1037). It knows nothing of what the stages do. Each is looked at from outside, every few seconds, by reads that
 * the stage itself has no part in; a stage that hangs cannot keep it from looking.
 *
 * It costs no request, and waits for nobody. What it cannot see is a process that stands still as a whole: whoever reads the status file does, by its age.
 */
export interface WatchdogDeps {
  readonly stages: readonly WatchedStage[];
  readonly policy: WatchPolicy;
  /** Milliseconds since the Unix epoch, for what is told. */
  readonly now: () => number;
  /** Monotonic, in milliseconds, for what is judged: a suspended machine and a clock that is set make no stall. */
  readonly nowMs: () => number;
  /** Resolves after the time, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly emit: (event: StalledEvent | StallEndedEvent) => void;
}

export interface WatchPolicy {
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  /** How long a stage may be without a sign of life while it has something to do, in milliseconds. With two intervals it makes the time to the alarm. */
  readonly stallAfterMs: number;
}

/** Told within 55 s. A store's time-out comes first: what it ends is a failure, which is told as one. */
export const defaultWatchPolicy: WatchPolicy = { intervalMs: 5_000, stallAfterMs: 45_000 };

/** `capture`: from the WAL to the spool; `upload`: from the spool to the store; `maintenance`: merging, snapshots, removing. */
export type Stage = "capture" | "upload" | "maintenance";

interface WatchedStage {
  readonly stage: Stage;
  /** Called at each look; reads, waits for nothing and may throw: a stage that cannot be seen shows no sign of life. */
  readonly look: () => StageReading;
}

export interface StageReading {
  /** Whether it has something to do. */
  readonly isBusy: boolean;
  /** What waits for it, in bytes; 0 where that is not known. */
  readonly bytes: number;
  /** Another text whenever it gets on, by however little. */
  readonly mark: string;
  /** Why it does not get on has been said: then it is no stall. */
  readonly isAnnounced: boolean;
}

/** A stage does not get on, and nothing has said why. Times are milliseconds since the Unix epoch. */
export interface Stall {
  readonly stage: Stage;
  /** When it was last seen to get on. */
  readonly sinceMs: number;
  /** What waits for it. */
  readonly bytes: number;
}

/** Something waits for the stage, and it has not moved for a minute, without an error. The application goes on; its commits are not safe, or not small. */
export interface StalledEvent extends Stall {
  readonly type: "stalled";
}

export interface StallEndedEvent {
  readonly type: "stall-ended";
  readonly stage: Stage;
  readonly stalledForMs: number;
}

interface Watched {
  mark: string | undefined;
  /** When the mark was first seen while the stage was busy. Monotonic, and since the Unix epoch. */
  seenAtMs: number;
  sinceMs: number;
  stall: Stall | undefined;
}

export class Watchdog {
  readonly #deps: WatchdogDeps;
  readonly #watched = new Map<Stage, Watched>();

  constructor(deps: WatchdogDeps) {
    this.#deps = deps;
  }

  /** What is stalled as of the last look. */
  get stalls(): readonly Stall[] {
    return [...this.#watched.values()].flatMap(({ stall }) => stall ?? []);
  }

  /** Looks until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { policy, sleep } = this.#deps;
    while (!signal.aborted) {
      this.look();
      await sleep(policy.intervalMs, signal);
    }
  }

  look(): void {
    for (const { stage, look } of this.#deps.stages) {
      let reading: StageReading;
      try {
        reading = look();
      } catch (error) {
        // Blind is busy: what cannot be looked at must not pass for idle.
        reading = { isBusy: true, bytes: 0, mark: `unseen: ${String(error)}`, isAnnounced: false };
      }
      this.#judge(stage, reading);
    }
  }

  #judge(stage: Stage, { isBusy, bytes, mark, isAnnounced }: StageReading): void {
    const { policy, now, nowMs, emit } = this.#deps;
    const watched = this.#watched.get(stage);
    if (watched === undefined || !isBusy || isAnnounced || watched.mark !== mark) {
      this.#watched.set(stage, {
        mark: isBusy && !isAnnounced ? mark : undefined,
        seenAtMs: nowMs(),
        sinceMs: now(),
        stall: undefined,
      });
      if (watched?.stall === undefined) return;
      emit({ type: "stall-ended", stage, stalledForMs: nowMs() - watched.seenAtMs });
      return;
    }
    if (nowMs() - watched.seenAtMs < policy.stallAfterMs) return;
    const isNew = watched.stall === undefined;
    watched.stall = { stage, sinceMs: watched.sinceMs, bytes };
    if (isNew) emit({ type: "stalled", ...watched.stall });
  }
}
