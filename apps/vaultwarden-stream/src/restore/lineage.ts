import type { Lineage } from "@vaultwarden-stream/file-sync";
import { ancestorsOf, formatTxid, type ReplicaListing, type Txid } from "wal-replicator";

/** A timeline of a line, and the last TXID of it that counts; undefined: all of it does. */
export interface LineStep {
  readonly timeline: string;
  readonly upToTxid: Txid | undefined;
}

/** The line that a timeline stands on: itself, then each ancestor up to where the line left it. Newest first. */
export function lineOf(
  { timelines }: Pick<ReplicaListing, "timelines">,
  timeline: string,
): LineStep[] {
  const parentOf = (name: string) =>
    timelines.find((candidate) => candidate.timeline === name)?.parent ?? null;
  const ancestors = ancestorsOf(timeline, parentOf);
  return [
    { timeline, upToTxid: undefined },
    ...ancestors.map((ancestor) => ({ timeline: ancestor.timeline, upToTxid: ancestor.txid })),
  ];
}

/** The same line, as manifests are chosen by it. */
export function lineageOf(listing: Pick<ReplicaListing, "timelines">, timeline: string): Lineage {
  return lineOf(listing, timeline).map((step) => ({
    timeline: step.timeline,
    upToTxid: step.upToTxid && formatTxid(step.upToTxid),
  }));
}
