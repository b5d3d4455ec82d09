import type { Lineage } from "@vaultwarden-stream/file-sync";
import { formatTxid, type ReplicaListing } from "wal-replicator";

/**
 * The line that a timeline stands on: itself, then each ancestor up to where it was left.
 *
 * @returns newest first. Foreign records may name each other in a circle: each timeline is taken once.
 */
export function lineageOf(
  { timelines }: Pick<ReplicaListing, "timelines">,
  timeline: string,
): Lineage {
  const steps = new Map<string, Lineage[number]>();
  let name: string | undefined = timeline;
  let upToTxid: string | undefined;
  while (name !== undefined && !steps.has(name)) {
    const at: string = name;
    steps.set(at, { timeline: at, upToTxid });
    const parent = timelines.find((candidate) => candidate.timeline === at)?.parent;
    name = parent?.timeline;
    upToTxid = parent ? formatTxid(parent.txid) : undefined;
  }
  return [...steps.values()];
}
