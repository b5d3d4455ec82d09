import { formatTxid, type ReplicaListing, type Txid } from "wal-replicator";
import { lineOf } from "./lineage.ts";

/** Which recovery point; the newest of the head if nothing is given. */
export interface WantedPoint {
  /** The newest state before this time. */
  readonly before?: Date;
  readonly txid?: Txid;
  readonly timeline?: string;
}

export interface FoundPoint {
  readonly timeline: string;
  readonly txid: Txid;
  /** When it was captured. */
  readonly at: Date;
}

/**
 * The recovery point that a restore of `wanted` would bring back: of the named timeline or the head, and what that does not hold
 * itself, of its ancestors up to where they branch.
 *
 * @returns undefined if there is none.
 */
export function findRecoveryPoint(
  { head, timelines }: Pick<ReplicaListing, "head" | "timelines">,
  wanted: WantedPoint,
): FoundPoint | undefined {
  const newest = wanted.timeline ?? head;
  if (newest === null) return undefined;
  for (const { timeline: name, upToTxid } of lineOf({ timelines }, newest)) {
    const timeline = timelines.find((candidate) => candidate.timeline === name);
    const point = timeline?.recoveryPoints.findLast(
      ({ txid, at }) =>
        (upToTxid === undefined || txid <= upToTxid) &&
        (wanted.txid === undefined || txid === wanted.txid) &&
        (wanted.before === undefined || at < wanted.before),
    );
    if (point !== undefined) return { timeline: name, txid: point.txid, at: point.at };
  }
  return undefined;
}

/** For people: `the database at 2026-11-24T21:54:21.123Z (TXID 000000000000001f)`. */
export function describePoint(at: Date, txid: Txid): string {
  return `the database at ${at.toISOString()} (TXID ${formatTxid(txid)})`;
}
