import { compareManifests, type ManifestRef } from "./manifest-key.ts";

/** A timeline and those it branched from, the newest first. What an ancestor wrote after the branch is not of this lineage. */
export type Lineage = readonly {
  readonly timeline: string;
  /** Where the next newer one branched off: 16 lower case hex digits. Undefined: all of it counts. */
  readonly upToTxid?: string | undefined;
}[];

/**
 * The state of the files at a moment: the lineage's newest manifest that is not after it. Newest is by timeline, epoch and sequence;
 * times, which a wrong clock may have written, only say which ones come too late.
 *
 * @param at - without it, the newest of all.
 * @returns undefined: the lineage had none yet.
 */
export function chooseManifest(
  refs: readonly ManifestRef[],
  lineage: Lineage,
  at?: Date,
): ManifestRef | undefined {
  return manifestsOf(refs, lineage).findLast(({ time }) => at === undefined || time <= at);
}

/**
 * The manifests that follow the chosen one in the lineage, the nearest first: where files are found that the database has at
 * that moment and the chosen manifest has not yet.
 *
 * @param chosen - undefined: none was, and all follow.
 * @throws {RangeError} if the chosen one is not of this lineage.
 */
export function laterManifests(
  refs: readonly ManifestRef[],
  lineage: Lineage,
  chosen: ManifestRef | undefined,
): ManifestRef[] {
  const ordered = manifestsOf(refs, lineage);
  return chosen === undefined ? ordered : ordered.slice(indexOf(ordered, chosen) + 1);
}

/** The manifests before the chosen one in the lineage, the nearest first. @throws as `laterManifests`. */
export function earlierManifests(
  refs: readonly ManifestRef[],
  lineage: Lineage,
  chosen: ManifestRef,
): ManifestRef[] {
  const ordered = manifestsOf(refs, lineage);
  return ordered.slice(0, indexOf(ordered, chosen)).toReversed();
}

function indexOf(ordered: readonly ManifestRef[], chosen: ManifestRef): number {
  const index = ordered.findIndex(
    (ref) => ref.timeline === chosen.timeline && compareManifests(ref, chosen) === 0,
  );
  if (index === -1) {
    throw new RangeError(`the lineage has no manifest ${chosen.epoch}-${chosen.sequence}`);
  }
  return index;
}

/** All manifests of the lineage, oldest first. */
export function manifestsOf(refs: readonly ManifestRef[], lineage: Lineage): ManifestRef[] {
  return lineage.toReversed().flatMap(({ timeline, upToTxid }) =>
    refs
      .filter((ref) => ref.timeline === timeline)
      .filter(({ txid }) => upToTxid === undefined || txid <= upToTxid)
      .toSorted(compareManifests),
  );
}
