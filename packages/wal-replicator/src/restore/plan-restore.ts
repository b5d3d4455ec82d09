import type { Txid } from "../ltx/txid.ts";
import { compareRanges, type ReplicaFile } from "../replica/catalog.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";

/** What to restore: exactly this TXID, or the last state stored before this moment, or (neither) the newest. */
export interface RestoreTarget {
  readonly txid?: Txid | undefined;
  /** Exclusive, like Litestream's `-timestamp`: a file of exactly this time is not taken. */
  readonly before?: Date | undefined;
}

/** Files that, applied in this order, are the database at `txid`. */
export interface RestorePlan {
  readonly outcome: "plan";
  /** Oldest first, never empty. The first has minTxid 1; each continues the one before it, or overlaps it. */
  readonly files: readonly ReplicaFile[];
  readonly txid: Txid;
  /** When the newest file was made, as far as the listing says. */
  readonly createdAt: Date;
}

export type RestorePlanOutcome =
  | RestorePlan
  /** No file that counts begins at TXID 1. */
  | { readonly outcome: "no-base" }
  /** Nothing in the listing ends at the TXID that was asked for. */
  | { readonly outcome: "not-reached"; readonly files: readonly ReplicaFile[] }
  /** No file continues after `files`, and later ones exist: something was deleted. */
  | {
      readonly outcome: "hole";
      readonly files: readonly ReplicaFile[];
      /** The first file behind the hole. */
      readonly next: ReplicaFile;
    };

/**
 * Plans a restore from one listing (replica-layout.md 7), with stock Litestream's result wherever stock has a right one.
 *
 * Beyond stock: a base has minTxid 1; and a hole is never passed over in silence, whatever was asked for. A hole is a TXID that no
 * file of the levels 0 … 8 covers; a TXID inside a merged file that is too new for the question is none.
 *
 * @param files - in any order. Of two files with the same range in a level, the later one is the base and the earlier one the increment.
 */
export function planRestore(
  files: readonly ReplicaFile[],
  target: RestoreTarget = {},
): RestorePlanOutcome {
  const sorted = files.toSorted((a, b) => compareRanges(a, b) || a.level - b.level);
  const eligible = sorted.filter((file) => isEligible(file, target));
  const increments = eligible.filter((file) => file.level < snapshotLevel);
  const plan: ReplicaFile[] = [];
  const base = eligible.findLast((file) => file.level === snapshotLevel && file.minTxid === 1n);
  if (base !== undefined) plan.push(base);
  let reached: bigint = base?.maxTxid ?? 0n;
  // Sorted by minTxid: what begins at or before `reached + 1` is a growing head of the list, so one pass finds every step.
  let index = 0;
  let best: ReplicaFile | undefined;
  while (target.txid === undefined || reached < target.txid) {
    for (; index < increments.length; index += 1) {
      const file = increments[index] as ReplicaFile;
      if (file.minTxid > reached + 1n) break;
      if (best === undefined || isBetter(file, best)) best = file;
    }
    if (best === undefined || best.maxTxid <= reached) break;
    plan.push(best);
    reached = best.maxTxid;
  }
  const last = plan.at(-1);
  if (target.txid !== undefined && reached === target.txid && last !== undefined)
    return toPlan(plan, last);
  const next = increments.find((file) => file.minTxid > reached + 1n);
  if (last === undefined) return { outcome: "no-base" };
  if (next !== undefined && !isCovered(sorted, reached + 1n)) {
    return { outcome: "hole", files: plan, next };
  }
  if (target.txid !== undefined) return { outcome: "not-reached", files: plan };
  return toPlan(plan, last);
}

function isEligible(file: ReplicaFile, { txid, before }: RestoreTarget): boolean {
  if (txid !== undefined && file.maxTxid > txid) return false;
  return before === undefined || file.createdAt.getTime() < before.getTime();
}

/** Stock's ranking of candidates: reaches furthest; then begins first; then the highest level; then the earliest. */
function isBetter(file: ReplicaFile, best: ReplicaFile): boolean {
  if (file.maxTxid !== best.maxTxid) return file.maxTxid > best.maxTxid;
  if (file.minTxid !== best.minTxid) return file.minTxid < best.minTxid;
  if (file.level !== best.level) return file.level > best.level;
  return file.createdAt.getTime() < best.createdAt.getTime();
}

/** Snapshots cover all TXIDs up to their own and restore only that one: they fill no hole. */
function isCovered(files: readonly ReplicaFile[], txid: bigint): boolean {
  return files.some(
    (file) => file.level < snapshotLevel && file.minTxid <= txid && file.maxTxid >= txid,
  );
}

function toPlan(files: readonly ReplicaFile[], last: ReplicaFile): RestorePlan {
  return { outcome: "plan", files, txid: last.maxTxid, createdAt: last.createdAt };
}
