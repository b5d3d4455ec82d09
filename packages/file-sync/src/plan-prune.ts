import { type Lineage, manifestsOf } from "./choose-manifest.ts";
import { compareManifests, type ManifestRef } from "./manifest-key.ts";

export interface PruneRules {
  /** How precisely a moment can be asked for, by its age: the youngest first. The last `keepMs` is the retention. At least one. */
  readonly precisions: readonly Precision[];
  /**
   * How old a blob must be by the store's own clock, in milliseconds: one that is younger may be on its way into a manifest. And for how long
   * manifests stay that nobody can ask for any more: a restore may have begun before.
   */
  readonly graceMs: number;
  /** The lines that moments are asked of: first the head's. What none of them has is kept whole for a retention after its last manifest. */
  readonly lineages: readonly Lineage[];
  /** Moments that can be restored, of something that belongs to the files: the manifest in force at each of them stays, whatever its age. */
  readonly moments: readonly Date[];
  /**
   * Whether something else than a manifest may name a file of this path, and be restored with a manifest that lacks it: then one that has it stays as
   * well. Default: nothing does.
   */
  readonly isNamedElsewhere?: (path: string) => boolean;
}

interface Precision {
  /** For moments up to this age, in milliseconds, … */
  readonly keepMs: number;
  /** … one manifest for each window of so many milliseconds, counted from the Unix epoch. 0: all of them. */
  readonly windowMs: number;
}

export interface ManifestPrunePlan {
  readonly keep: readonly ManifestRef[];
  /** Within the retention, and no moment of the precision of its age needs it. Newest first in each line. */
  readonly thin: readonly ManifestRef[];
  /** Out of the retention. Oldest first in each timeline. */
  readonly remove: readonly ManifestRef[];
}

/**
 * Which manifests nobody can ask for any more. Kept are
 *
 * - of each line the last one in each window of its age's precision, and what was in force at each moment and when the retention began;
 * - what no line has (dead timelines, and what an ancestor wrote after the branch), until the last of it is out of the retention.
 *
 * A manifest from the future, which a wrong clock wrote, counts as the youngest.
 *
 * @param now - by the store's clock.
 */
export function planManifestPrune(
  refs: readonly ManifestRef[],
  now: Date,
  rules: Pick<PruneRules, "precisions" | "graceMs" | "lineages" | "moments">,
): ManifestPrunePlan {
  const { precisions, graceMs, lineages, moments } = rules;
  const retentionMs = retentionOf(precisions);
  const ageOf = ({ time }: ManifestRef): number => now.getTime() - time.getTime();
  const isRecent = (ref: ManifestRef): boolean => ageOf(ref) <= retentionMs + graceMs;
  const kept = new Set<ManifestRef | undefined>();
  const living = new Set<ManifestRef>();
  for (const lineage of lineages) {
    const ordered = manifestsOf(refs, lineage);
    for (const ref of ordered) living.add(ref);
    for (const ref of lastOfWindows(ordered.filter(isRecent), ageOf, rules)) kept.add(ref);
    // Nothing later than the state at the horizon was written before it. So the newest is kept, however old: it is this one, or recent.
    const horizon = new Date(now.getTime() - retentionMs - graceMs);
    for (const ref of inForceAt(ordered, [horizon, ...moments])) kept.add(ref);
  }
  const dead = refs.filter((ref) => !living.has(ref));
  for (const own of Map.groupBy(dead, (ref) => ref.timeline).values()) {
    if (own.some(isRecent)) for (const ref of own) kept.add(ref);
  }
  const rest = refs.filter((ref) => !kept.has(ref)).toSorted(compareManifests);
  return {
    keep: refs.filter((ref) => kept.has(ref)),
    thin: rest.filter((ref) => living.has(ref) && isRecent(ref)).toReversed(),
    remove: rest.filter((ref) => !living.has(ref) || !isRecent(ref)),
  };
}

/** Windows of a longer precision are made of whole shorter ones, so what is the last of the longer was the last of the shorter. */
function lastOfWindows(
  ordered: readonly ManifestRef[],
  ageOf: (ref: ManifestRef) => number,
  { precisions, graceMs }: Pick<PruneRules, "precisions" | "graceMs">,
): ManifestRef[] {
  return ordered.filter((ref, index) => {
    const next = ordered[index + 1];
    const found = precisions.find(({ keepMs }) => ageOf(ref) <= keepMs + graceMs);
    const { windowMs } = found ?? (precisions.at(-1) as Precision);
    if (next === undefined || windowMs === 0) return true;
    const windowOf = ({ time }: ManifestRef): number => Math.floor(time.getTime() / windowMs);
    return windowOf(next) !== windowOf(ref);
  });
}

/** What `chooseManifest` chooses for any of the moments. */
function inForceAt(ordered: readonly ManifestRef[], moments: readonly Date[]): ManifestRef[] {
  // Whoever has a later one with an earlier time is chosen for no moment. The others' times ascend.
  const choosable: ManifestRef[] = [];
  for (const ref of ordered.toReversed()) {
    const later = choosable.at(-1);
    if (later === undefined || ref.time < later.time) choosable.push(ref);
  }
  const newestFirst = moments.toSorted((a, b) => b.getTime() - a.getTime());
  let index = 0;
  return choosable.filter(({ time }) => {
    const at = newestFirst[index];
    if (at === undefined || at < time) return false;
    while (index < newestFirst.length && (newestFirst[index] as Date) >= time) index += 1;
    return true;
  });
}

/** How far back moments can be asked for, in milliseconds. */
function retentionOf(precisions: readonly Precision[]): number {
  return precisions.at(-1)?.keepMs ?? Number.POSITIVE_INFINITY;
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
