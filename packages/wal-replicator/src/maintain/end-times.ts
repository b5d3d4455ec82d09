import type { Txid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";

/**
 * How old each end of a file in one line is, whatever clocks said: for decisions about age, never for a restore.
 *
 * TXIDs say what came after what. A time from the future was written by a wrong clock, and counts as that of the next end which can be true; a time
 * before that of an earlier end counts as the earlier one's. So a clock that was wrong for a while makes nothing look older than its neighbours.
 *
 * @returns milliseconds since the Unix epoch, which do not decrease with the TXID, and none of which is after `nowMs`.
 */
export function settleEndTimes(
  files: readonly ReplicaFile[],
  nowMs: number,
): ReadonlyMap<Txid, number> {
  // Files of one end may differ in a listing that tells when they were stored: the earliest is the nearest to the truth.
  const stamps = new Map<Txid, number>();
  for (const { maxTxid, createdAt } of files) {
    stamps.set(
      maxTxid,
      Math.min(stamps.get(maxTxid) ?? Number.POSITIVE_INFINITY, createdAt.getTime()),
    );
  }
  const ends = [...stamps].sort(([a], [b]) => (a < b ? -1 : 1));
  let possibleMs = nowMs;
  for (const end of ends.toReversed()) {
    if (end[1] > nowMs) end[1] = possibleMs;
    possibleMs = end[1];
  }
  let reachedMs = Number.NEGATIVE_INFINITY;
  for (const end of ends) {
    reachedMs = Math.max(reachedMs, end[1]);
    end[1] = reachedMs;
  }
  return new Map(ends);
}
