import type { SqliteConnection } from "../sqlite/connection.ts";

/**
 * When and how to checkpoint (wal-capture.md 5). The anchor keeps the application's own checkpoints from finishing, so the WAL is
 * ours to keep small: without this, it would grow for ever.
 *
 * - After a pass, once about 1,000 captured pages lie in the WAL: PASSIVE, then rotate. If no commit came in between, the new
 *   anchor has mark 0 and the next commit restarts the WAL. Nobody waits.
 * - Under constant writes that never happens by luck. Beyond a bound: a barrier, the write lock held while the tail is captured
 *   and moved. What can be done before it is done before it, so that writers wait for the tail alone.
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

/** @param walFrames - captured frames of the present generation. */
export function planCheckpoint(
  policy: CheckpointPolicy,
  walFrames: number,
  pageSize: number,
): CheckpointNeed {
  if (walFrames * (pageSize + 24) >= policy.barrierBytes) return "barrier";
  return walFrames >= policy.passiveFrames ? "passive" : "none";
}

export interface BarrierOutcome {
  readonly walFrames: number;
  readonly checkpointedFrames: number;
  readonly writeLockHeldMs: number;
}

/**
 * Holds the write lock while `tail` runs, then moves everything into the database file, and rotates behind it, so that the next commit restarts the WAL.
 *
 * @param rotate - captures what is new and rotates the anchor.
 * @returns undefined if the application holds the lock, or checkpoints by itself: try again later.
 */
export async function checkpointBehindBarrier(
  barrier: SqliteConnection,
  control: SqliteConnection,
  rotate: () => Promise<void>,
  at: (point: "barrier-held" | "checkpointed") => void,
  nowMs: () => number,
): Promise<BarrierOutcome | undefined> {
  // Most of the work before anybody has to wait: what is captured already moves now.
  control.checkpoint("PASSIVE");
  if (!barrier.tryBeginImmediate()) return undefined;
  const heldSince = nowMs();
  try {
    at("barrier-held");
    await rotate();
    const { isBusy, logFrames, checkpointedFrames } = control.checkpoint("PASSIVE");
    if (isBusy) return undefined; // another connection checkpoints right now
    at("checkpointed");
    await rotate();
    return { walFrames: logFrames, checkpointedFrames, writeLockHeldMs: nowMs() - heldSince };
  } finally {
    barrier.endTransaction();
  }
}
