import { setTimeout as sleep } from "node:timers/promises";
import type { SqliteConnection } from "../sqlite/connection.ts";

/**
 * When and how to checkpoint (wal-capture.md 5). The anchor keeps the application's own checkpoints from finishing, so the WAL is
 * ours to keep small: without this, it would grow for ever.
 *
 * - After a pass, once about 1,000 captured pages lie in the WAL: PASSIVE. If no commit came in between, rotate: the new anchor
 *   has mark 0 and the next commit restarts the WAL. Nobody waits. The same in a quiet time, however little lies there: behind an
 *   anchor with mark 0 the application's own RESTART and TRUNCATE pass.
 * - Under constant writes that never happens by luck. Beyond a bound: a barrier, the write lock held while the tail is captured
 *   and moved. PASSIVE and rotate are repeated before it until the tail is short, so that writers wait for little more than the
 *   syncs; and barriers keep a distance, so that they are a small share of the time.
 *
 * RESTART and TRUNCATE are never run while the application runs.
 */
export interface CheckpointPolicy {
  /** Captured frames in the WAL from which a PASSIVE checkpoint is tried. */
  readonly passiveFrames: number;
  /** Size of the WAL from which a barrier is taken, in bytes. */
  readonly barrierBytes: number;
}

export const defaultCheckpointPolicy: CheckpointPolicy = {
  passiveFrames: 1_000,
  barrierBytes: 8 * 1024 * 1024,
};

export type CheckpointNeed = "none" | "passive" | "barrier";

/**
 * @param walFrames - captured frames of the present generation.
 * @param isQuiet - no commit has come for some time.
 */
export function planCheckpoint(
  policy: CheckpointPolicy,
  walFrames: number,
  pageSize: number,
  isQuiet: boolean,
): CheckpointNeed {
  if (isQuiet) return "passive";
  if (walFrames * (pageSize + 24) >= policy.barrierBytes) return "barrier";
  return walFrames >= policy.passiveFrames ? "passive" : "none";
}

export interface CheckpointOutcome {
  readonly walFrames: number;
  readonly checkpointedFrames: number;
  /** 0 if it was not taken. */
  readonly writeLockHeldMs: number;
}

export interface CheckpointerDeps {
  readonly policy: CheckpointPolicy;
  readonly pageSize: number;
  /** Holds no transaction. */
  readonly control: Pick<SqliteConnection, "checkpoint">;
  /** Takes the write lock. */
  readonly barrier: Pick<SqliteConnection, "tryBeginImmediate" | "endTransaction">;
  /** Captures what is new and rotates the anchor. */
  readonly rotate: () => Promise<void>;
  /** Captured frames of the present generation. */
  readonly walFrames: () => number;
  readonly at: (point: "barrier-held" | "checkpointed") => void;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
}

/** A tail of so many frames is moved in about the time of the syncs that follow it. */
const tailFramesMax = 256;
/** Each is one more file in the store: a writer that is faster than three of them waits for its longer tail. */
const roundsMax = 3;
/** How often, and how long apart, a checkpoint behind the barrier is tried again while another connection checkpoints. */
const busyAttemptsMax = 20;
const busyPauseMs = 2;
/** A WAL of so many times the bound is urgent: no rest is taken, and no reader is waited for, before it fills the disk. */
const urgentFactor = 8;
/** The next barrier waits for so many times as long as the lock was held: writers are held off for 5 % of the time at most. */
const restPerHeld = 20;

export class Checkpointer {
  readonly #deps: CheckpointerDeps;
  #barrierDueMs = Number.NEGATIVE_INFINITY;

  constructor(deps: CheckpointerDeps) {
    this.#deps = deps;
  }

  /**
   * Checkpoints what is captured, if it is time. To be called right after a pass.
   *
   * @param isQuiet - no commit has come for some time, so that it is time anyway.
   * @returns undefined if nothing was done, or somebody was in the way: the next pass tries again.
   */
  async run(isQuiet: boolean): Promise<CheckpointOutcome | undefined> {
    const { policy, pageSize, control, rotate, walFrames, at, nowMs } = this.#deps;
    const need = planCheckpoint(policy, walFrames(), pageSize, isQuiet);
    if (need === "none") return undefined;
    const isUrgent = walFrames() * (pageSize + 24) >= policy.barrierBytes * urgentFactor;
    const mayHold = need === "barrier" && (isUrgent || nowMs() >= this.#barrierDueMs);
    for (let round = 1; ; round += 1) {
      const captured = walFrames();
      const moved = control.checkpoint("PASSIVE");
      if (!moved.isBusy) at("checkpointed");
      if (!mayHold) {
        if (moved.isBusy) return undefined;
        if (control.checkpoint("NOOP").logFrames > captured) {
          // The WAL cannot restart: to rotate would make one more file for nothing.
          const { logFrames, checkpointedFrames } = moved;
          return { walFrames: logFrames, checkpointedFrames, writeLockHeldMs: 0 };
        }
      }
      // Busy: another connection checkpoints right now, which moves the same frames.
      await rotate();
      const { logFrames, checkpointedFrames } = control.checkpoint("NOOP");
      const tail = logFrames - checkpointedFrames;
      if (!mayHold || tail === 0 || logFrames < captured) {
        return { walFrames: logFrames, checkpointedFrames, writeLockHeldMs: 0 };
      }
      // A long read of the application needs the frames: holding writers off would not move them either.
      if (!isUrgent && checkpointedFrames + tailFramesMax < captured) return undefined;
      if (tail <= tailFramesMax || round === roundsMax) return this.#behindBarrier();
    }
  }

  /** Holds the write lock while the tail is captured and moved, and the anchor rotated behind it: the next commit restarts the WAL. */
  async #behindBarrier(): Promise<CheckpointOutcome | undefined> {
    const { control, barrier, rotate, at, nowMs } = this.#deps;
    if (!barrier.tryBeginImmediate()) return undefined;
    const heldSinceMs = nowMs();
    try {
      at("barrier-held");
      await rotate();
      let moved = control.checkpoint("PASSIVE");
      // The application's own checkpoint runs: with nothing new to move, it is over soon.
      for (let attempt = 1; moved.isBusy && attempt <= busyAttemptsMax; attempt++) {
        await sleep(busyPauseMs);
        moved = control.checkpoint("PASSIVE");
      }
      if (moved.isBusy) return undefined;
      const { logFrames, checkpointedFrames } = moved;
      at("checkpointed");
      await rotate();
      const writeLockHeldMs = nowMs() - heldSinceMs;
      return { walFrames: logFrames, checkpointedFrames, writeLockHeldMs };
    } finally {
      barrier.endTransaction();
      const endedMs = nowMs();
      this.#barrierDueMs = endedMs + (endedMs - heldSinceMs) * restPerHeld;
    }
  }
}
