import type { Txid } from "./ltx/txid.ts";
import type { ReplicaFile } from "./replica/catalog.ts";
import { snapshotLevel } from "./replica/replica-layout.ts";

/** A state of the database that can be restored exactly. */
export interface RecoveryPoint {
  readonly txid: Txid;
  /** A restore to any later time, up to the next point, gives this one. */
  readonly at: Date;
  /** The finest level that has a file ending here. */
  readonly level: number;
}

/** Neighbouring recovery points of one level, and how precisely they lie. */
export interface RecoveryRange {
  readonly level: number;
  readonly from: Date;
  readonly to: Date;
  readonly pointCount: number;
  /**
   * The longest time between two neighbouring points of which states in between were once stored and are merged away now, in
   * milliseconds. 0: every stored change can be restored.
   */
  readonly precisionMs: number;
}

/**
 * All TXIDs that `planRestore` reaches with these files, ascending. Pure; n log n for n files.
 *
 * @param files - of one timeline, or of a lineage clipped to its branch points; in any order.
 */
export function recoveryPoints(files: readonly ReplicaFile[]): RecoveryPoint[] {
  const byEnd = files.toSorted((a, b) =>
    a.maxTxid === b.maxTxid ? a.level - b.level : a.maxTxid < b.maxTxid ? -1 : 1,
  );
  const points: RecoveryPoint[] = [];
  // The furthest reached below the current end: if a file does not continue that, it continues nothing before it either.
  let reached = 0n;
  let reachedBefore = 0n;
  for (const file of byEnd) {
    const last = points.at(-1);
    const isKnown = last?.txid === file.maxTxid;
    const below = isKnown ? reachedBefore : reached;
    const isReached =
      file.level === snapshotLevel ? file.minTxid === 1n : file.minTxid <= below + 1n;
    if (!isReached) continue;
    if (last !== undefined && isKnown) {
      if (file.createdAt < last.at) points[points.length - 1] = { ...last, at: file.createdAt };
      continue;
    }
    reachedBefore = reached;
    reached = file.maxTxid;
    points.push({ txid: file.maxTxid, at: file.createdAt, level: file.level });
  }
  return points;
}

/** Runs of points of the same level, oldest first. Pure. */
export function recoveryRanges(points: readonly RecoveryPoint[]): RecoveryRange[] {
  const ranges: RecoveryRange[] = [];
  let before: RecoveryPoint | undefined;
  for (const point of points) {
    const isMerged = before !== undefined && point.txid - before.txid > 1n;
    const gapMs = before !== undefined && isMerged ? point.at.getTime() - before.at.getTime() : 0;
    const range = ranges.at(-1);
    if (range?.level === point.level) {
      ranges[ranges.length - 1] = {
        ...range,
        to: point.at,
        pointCount: range.pointCount + 1,
        precisionMs: Math.max(range.precisionMs, gapMs),
      };
    } else {
      ranges.push({
        level: point.level,
        from: point.at,
        to: point.at,
        pointCount: 1,
        precisionMs: gapMs,
      });
    }
    before = point;
  }
  return ranges;
}
