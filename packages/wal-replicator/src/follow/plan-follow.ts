import type { Txid } from "../ltx/txid.ts";
import { compareRanges, type ReplicaFile } from "../replica/catalog.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";

/** One timeline of a line, and what of it counts. */
export interface LineSegment {
  readonly timeline: string;
  /** The TXID where the next timeline branched off, which has no file yet if this is the last one; undefined: all of it counts. */
  readonly upTo: Txid | undefined;
  readonly files: readonly ReplicaFile[];
}

export type RestoreReason =
  /** The copy has what the line that goes on does not have: it was applied before the other one took over. */
  | "diverged"
  /** The copy's timeline is no part of the line that goes on. */
  | "other-line"
  /** The files that would continue the copy are gone, and a newer base is there. */
  | "gap"
  /** The database has another page size now. */
  | "page-size"
  /** The copy's pages are not what was written there. */
  | "damaged-copy"
  /** What the files make of the copy is not what was recorded with them. */
  | "checksum";

export type FollowPlan =
  | { readonly kind: "current" }
  /** Files that continue the copy, oldest first; each continues the one before it, or overlaps it. */
  | { readonly kind: "apply"; readonly files: readonly ReplicaFile[] }
  | { readonly kind: "restore"; readonly reason: RestoreReason }
  /** Files are missing, and no base is newer than the copy: it can only wait. */
  | { readonly kind: "stuck"; readonly next: ReplicaFile };

/**
 * What brings a copy on, from one listing of the line that goes on.
 *
 * Of an ancestor nothing counts behind the TXID where the next timeline left it. Of all files that continue the copy the one that reaches furthest
 * is taken, as a restore would: what was merged is one request. Snapshots continue nothing, since they hold what the copy has already.
 *
 * @param segments - oldest first; the last one is the head.
 * @param withoutKeys - files that were found damaged.
 */
export function planFollow(
  position: { readonly timeline: string; readonly txid: Txid },
  segments: readonly LineSegment[],
  withoutKeys: ReadonlySet<string> = new Set(),
): FollowPlan {
  const own = segments.findIndex(({ timeline }) => timeline === position.timeline);
  const segment = segments[own];
  if (segment === undefined) return { kind: "restore", reason: "other-line" };
  const isHead = own === segments.length - 1;
  if (!isHead && segment.upTo !== undefined && position.txid > segment.upTo) {
    return { kind: "restore", reason: "diverged" };
  }
  const listed = segments.slice(own).flatMap(({ files, upTo }) => {
    return upTo === undefined ? files : files.filter(({ maxTxid }) => maxTxid <= upTo);
  });
  const newer = listed.filter(({ maxTxid }) => maxTxid > position.txid);
  if (newer.length === 0) return { kind: "current" };
  const usable = newer.filter(({ key }) => !withoutKeys.has(key));
  const files = chain(position.txid, usable);
  if (files.length > 0) return { kind: "apply", files };
  if (usable.some(({ level }) => level === snapshotLevel)) {
    return { kind: "restore", reason: "gap" };
  }
  return { kind: "stuck", next: newer.reduce((a, b) => (compareRanges(a, b) <= 0 ? a : b)) };
}

function chain(from: Txid, listed: readonly ReplicaFile[]): ReplicaFile[] {
  const sorted = listed
    .filter(({ level }) => level < snapshotLevel)
    .sort((a, b) => compareRanges(a, b) || b.level - a.level);
  const files: ReplicaFile[] = [];
  let reached: bigint = from;
  let index = 0;
  let best: ReplicaFile | undefined;
  for (;;) {
    for (; index < sorted.length; index += 1) {
      const file = sorted[index] as ReplicaFile;
      if (file.minTxid > reached + 1n) break;
      if (best === undefined || file.maxTxid > best.maxTxid) best = file;
    }
    if (best === undefined || best.maxTxid <= reached) return files;
    files.push(best);
    reached = best.maxTxid;
  }
}

/** What one transaction of the copy takes of a plan: few large writes instead of many small ones, within bounds of memory and disk. */
export function firstBatch(files: readonly ReplicaFile[]): readonly ReplicaFile[] {
  let bytes = 0;
  const end = files.findIndex(({ size }, index) => {
    bytes += size;
    return index > 0 && (bytes > batchBytesMax || index >= batchFilesMax);
  });
  return end === -1 ? files : files.slice(0, end);
}

const batchBytesMax = 16 << 20;
const batchFilesMax = 64;
