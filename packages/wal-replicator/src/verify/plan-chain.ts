import type { Txid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";

/**
 * What has become of a range of TXIDs. `found`: files have it. `lost`: newer ones exist, or somebody knows that it was stored, and it is not
 * there. `uploading`: the living writer's next ones. `delayed`: its writer is gone without having given up cleanly, and may still bring what
 * it had captured.
 */
export type SegmentState = "found" | "lost" | "uploading" | "delayed";

export interface ChainSegment {
  readonly state: SegmentState;
  readonly minTxid: Txid;
  /** Null: nobody knows how far. */
  readonly maxTxid: Txid | null;
}

/** A range that a level lacks between files of its own, and that other levels have: states in between cannot be restored any more. */
export interface LevelGap {
  readonly level: number;
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
}

export interface ChainFacts {
  /** Where the timeline branched off; null: it begins with TXID 1. */
  readonly branchTxid: Txid | null;
  /** The newest TXID of it that somebody says was stored: its owner's release, a branch, the local state. Null: nobody says. */
  readonly confirmedTxid: Txid | null;
  /** What becomes of the timeline's end. */
  readonly writer: "alive" | "gone" | "released" | "unknown";
}

/**
 * The chain of one timeline, by the names of its files alone. What retention has removed from the beginning, up to a snapshot, is not
 * missed; everything behind is. Pure.
 *
 * @param files - of this timeline, in any order; at least one.
 */
export function planChain(files: readonly ReplicaFile[], facts: ChainFacts): ChainSegment[] {
  const increments = files
    .filter((file) => file.level < snapshotLevel)
    .toSorted((a, b) => compare(a.minTxid, b.minTxid));
  const snapshots = files
    .filter((file) => file.level === snapshotLevel && file.minTxid === 1n)
    .toSorted((a, b) => compare(a.maxTxid, b.maxTxid));
  const segments: ChainSegment[] = [];
  const add = (state: SegmentState, minTxid: bigint, maxTxid: bigint | null): void => {
    if (maxTxid !== null && maxTxid < minTxid) return;
    segments.push({ state, minTxid: minTxid as Txid, maxTxid: maxTxid as Txid | null });
  };

  let { foundFrom, reached } = beginOf(increments, snapshots, facts);
  const lose = (maxTxid: bigint): void => {
    add("found", foundFrom, reached);
    add("lost", reached + 1n, maxTxid);
    foundFrom = maxTxid + 1n;
    reached = maxTxid;
  };
  for (const { minTxid, maxTxid } of increments) {
    if (minTxid > reached + 1n) lose(minTxid - 1n);
    if (maxTxid > reached) reached = maxTxid;
  }
  // A snapshot restores its own TXID and no other: those before it were increments, or never existed as files.
  const newestSnapshot = snapshots.at(-1)?.maxTxid ?? 0n;
  if (newestSnapshot > reached) {
    if (newestSnapshot > reached + 1n && increments.length > 0) lose(newestSnapshot - 1n);
    reached = newestSnapshot;
  }
  const { confirmedTxid, writer } = facts;
  if (confirmedTxid !== null && confirmedTxid > reached) lose(confirmedTxid);
  add("found", foundFrom, reached);
  if (writer === "alive") add("uploading", reached + 1n, null);
  if (writer === "gone") add("delayed", reached + 1n, null);
  return segments;
}

/** The first TXID that is there or has to be, and how far a snapshot alone reaches from it. */
function beginOf(
  increments: readonly ReplicaFile[],
  snapshots: readonly ReplicaFile[],
  { branchTxid }: ChainFacts,
): { readonly foundFrom: bigint; readonly reached: bigint } {
  const from = (txid: bigint) => ({ foundFrom: txid, reached: txid - 1n });
  const begin = (branchTxid ?? 0n) + 1n;
  const first = increments[0]?.minTxid;
  if (first !== undefined && first <= begin) return from(first);
  const oldest = snapshots[0]?.maxTxid;
  if (oldest === undefined) return from(begin);
  if (first !== undefined && first <= oldest) return from(first);
  return { foundFrom: oldest, reached: oldest };
}

/** Gaps between files of one level that other levels make up for. Pure. */
export function levelGaps(
  files: readonly ReplicaFile[],
  segments: readonly ChainSegment[],
): LevelGap[] {
  const gaps: LevelGap[] = [];
  for (let level = 0; level < snapshotLevel; level += 1) {
    const own = files
      .filter((file) => file.level === level)
      .toSorted((a, b) => compare(a.minTxid, b.minTxid));
    let reached = (own[0]?.minTxid ?? 1n) - 1n;
    for (const { minTxid, maxTxid } of own) {
      if (minTxid > reached + 1n && !isLost(segments, reached + 1n)) {
        gaps.push({ level, minTxid: (reached + 1n) as Txid, maxTxid: (minTxid - 1n) as Txid });
      }
      if (maxTxid > reached) reached = maxTxid;
    }
  }
  return gaps;
}

function isLost(segments: readonly ChainSegment[], txid: bigint): boolean {
  return segments.some(
    ({ state, minTxid, maxTxid }) =>
      state === "lost" && minTxid <= txid && (maxTxid === null || txid <= maxTxid),
  );
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
