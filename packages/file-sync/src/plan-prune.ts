import { chooseManifest, type Lineage } from "./choose-manifest.ts";
import { compareManifests, type ManifestRef } from "./manifest-key.ts";

export interface PruneRules {
  /** How long a moment can be asked for, in milliseconds. */
  readonly retentionMs: number;
  /** How old a blob must be by the store's own clock, in milliseconds: one that is younger may be on its way into a manifest. */
  readonly graceMs: number;
  /** The lines that moments are asked of: first the head's. Timelines that none of them has are kept for a retention after their last manifest. */
  readonly lineages: readonly Lineage[];
}

export interface ManifestPrunePlan {
  readonly keep: readonly ManifestRef[];
  /** Oldest first in each timeline. */
  readonly remove: readonly ManifestRef[];
}

/**
 * Which manifests nobody can ask for any more. Kept are all that are within the retention; what was in force when it began, since that
 * holds until the next one; the newest of each timeline of a lineage; and all of a dead timeline until its last one is out of the retention.
 * A manifest from the future, which a wrong clock wrote, is within the retention.
 *
 * @param now - by the store's clock.
 */
export function planManifestPrune(
  refs: readonly ManifestRef[],
  now: Date,
  { retentionMs, lineages }: Pick<PruneRules, "retentionMs" | "lineages">,
): ManifestPrunePlan {
  const horizon = new Date(now.getTime() - retentionMs);
  const isRecent = ({ time }: ManifestRef): boolean => time >= horizon;
  const kept = new Set<ManifestRef | undefined>(refs.filter(isRecent));
  // Nothing later than the state at the horizon was written before it, so each later moment's state is this one or a recent one.
  for (const lineage of lineages) kept.add(chooseManifest(refs, lineage, horizon));
  const living = new Set(lineages.flat().map(({ timeline }) => timeline));
  for (const [timeline, own] of Map.groupBy(refs, (ref) => ref.timeline)) {
    if (living.has(timeline)) {
      // So the newest stays, however old: it is recent, or this one.
      kept.add(chooseManifest(own, [{ timeline }], horizon));
    } else if (own.some(isRecent)) {
      for (const ref of own) kept.add(ref);
    }
  }
  return {
    keep: refs.filter((ref) => kept.has(ref)),
    remove: refs.filter((ref) => !kept.has(ref)).toSorted(compareManifests),
  };
}

export interface SeenBlob {
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
  /** Both by the store's clock. */
  readonly lastModified: Date;
  readonly seenAt: Date;
}

/** Whether a blob may go: nobody names it, and it has been there for longer than any push takes. */
export function isPrunable(
  { sha256, lastModified, seenAt }: SeenBlob,
  named: ReadonlySet<string>,
  { graceMs }: Pick<PruneRules, "graceMs">,
): boolean {
  return !named.has(sha256) && seenAt.getTime() - lastModified.getTime() > graceMs;
}

export interface PruneBounds {
  /** Objects that one run deletes at most. */
  readonly deletesMax: number;
  /** Of all blobs, 0 to 1: to delete more of them needs `force`. */
  readonly shareMax: number;
  readonly force: boolean;
}

/** A small vault may lose all of its few attachments: a share of less than this many blobs alarms nobody. */
const shareCountMin = 100;

/** Whether so many blobs at once look more like a mistake than like a month's deletions. */
export function isTooManyBlobs(
  prunable: number,
  total: number,
  { shareMax, force }: PruneBounds,
): boolean {
  return !force && prunable >= shareCountMin && prunable > total * shareMax;
}
