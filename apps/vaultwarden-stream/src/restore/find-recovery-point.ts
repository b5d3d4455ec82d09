import type { ReplicaListing, Txid } from "wal-replicator";
import type { WantedPoint } from "./restore-into-place.ts";

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
  const seen = new Set<string>(); // foreign records may name each other in a circle
  let name: string | undefined = wanted.timeline ?? head ?? undefined;
  let txidMax: bigint | undefined;
  while (name !== undefined && !seen.has(name)) {
    seen.add(name);
    const timeline: ReplicaListing["timelines"][number] | undefined = timelines.find(
      (candidate) => candidate.timeline === name,
    );
    const limit = txidMax;
    const point = timeline?.recoveryPoints.findLast(
      ({ txid, at }) =>
        (limit === undefined || txid <= limit) &&
        (wanted.txid === undefined || txid === wanted.txid) &&
        (wanted.at === undefined || at < wanted.at),
    );
    if (timeline === undefined || point !== undefined) {
      return point && { timeline: name, txid: point.txid, at: point.at };
    }
    txidMax = timeline.parent?.txid;
    name = timeline.parent?.timeline;
  }
  return undefined;
}
