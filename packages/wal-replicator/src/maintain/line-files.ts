import type { ReplicaFile } from "../replica/catalog.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";

/** One timeline of a replica, as far as its line and its files go. */
export interface TimelineFiles {
  readonly timeline: string;
  /** Where it branched off; null: it begins with TXID 1, or nothing says. */
  readonly parent: TimelinePosition | null;
  /** In any order. */
  readonly files: readonly ReplicaFile[];
}

/**
 * What a restore of a timeline may use: its own files, and of each ancestor those that end at or before the TXID where the line left it.
 * Of a merged file that the branch point lies in nothing counts, as in `planLineage`. Oldest timeline first. Pure.
 */
export function lineFiles(
  timeline: string,
  parentOf: (timeline: string) => TimelinePosition | null,
  filesOf: (timeline: string) => readonly ReplicaFile[],
): ReplicaFile[] {
  const inherited = ancestorsOf(timeline, parentOf)
    .toReversed()
    .flatMap((part) => filesOf(part.timeline).filter(({ maxTxid }) => maxTxid <= part.txid));
  return [...inherited, ...filesOf(timeline)];
}

/** The same, of timelines at hand. */
export function lineOf(
  timeline: string,
  timelines: ReadonlyMap<string, TimelineFiles>,
): ReplicaFile[] {
  return lineFiles(
    timeline,
    (name) => timelines.get(name)?.parent ?? null,
    (name) => timelines.get(name)?.files ?? [],
  );
}

/** The parent and its parents, each up to the TXID where the line left it; the nearest first. */
export function ancestorsOf(
  timeline: string,
  parentOf: (timeline: string) => TimelinePosition | null,
): TimelinePosition[] {
  const ancestors: TimelinePosition[] = [];
  const seen = new Set([timeline]); // foreign records may name each other in a circle
  let parent = parentOf(timeline);
  while (parent !== null && !seen.has(parent.timeline)) {
    seen.add(parent.timeline);
    ancestors.push(parent);
    const { txid } = parent;
    const grandparent = parentOf(parent.timeline);
    // A branch may lie before the parent's own branch point: then only that much of the grandparent counts.
    parent = grandparent && (grandparent.txid <= txid ? grandparent : { ...grandparent, txid });
  }
  return ancestors;
}
