import type { ReplicaFile } from "../replica/catalog.ts";
import type { EpochRecord, TimelinePosition } from "../replica/epoch-record.ts";
import {
  planRestore,
  type RestorePlan,
  type RestorePlanOutcome,
  type RestoreTarget,
} from "./plan-restore.ts";

/** What to restore of a whole replica set. */
export interface LineageTarget extends RestoreTarget {
  /** This timeline instead of the head; "" is a replica that stock Litestream wrote directly below the prefix. */
  readonly timeline?: string | undefined;
}

export type LineagePlanOutcome =
  /** `timeline` is where the position lies: an ancestor, if the moment asked for is before the branch. */
  | (RestorePlan & { readonly timeline: string })
  /** No timeline has any file; or the one that was asked for has none. */
  | { readonly outcome: "nothing" }
  | (Exclude<RestorePlanOutcome, RestorePlan> & { readonly timeline: string });

/** What the plan must see next. */
export type LineageRequest =
  /** The files of a timeline; none: it is not there. */
  | { readonly need: "files"; readonly timeline: string }
  /** The newest writer's epoch that was not asked for yet; none: that was all. */
  | { readonly need: "next-writer" }
  /** The record of the epoch that began a timeline; none: it is not there. */
  | { readonly need: "founder"; readonly timeline: string };

export interface LineageAnswer {
  readonly files?: readonly ReplicaFile[];
  readonly record?: EpochRecord | undefined;
}

type LineagePlanning<T> = Generator<LineageRequest, T, LineageAnswer>;

/**
 * Plans a restore over all timelines. Yields what it must see of the replica, and is sent it: of the epochs no more than it needs.
 *
 * - The head is the timeline of the newest writer's epoch that has any file. A timeline whose files do not restore is an error and not
 *   passed over, since an older one would silently lack what was written since. Behind all epochs comes the unnamed timeline.
 * - What the head cannot reach alone is planned over its lineage: each ancestor counts up to the TXID where the next one branched
 *   off. So a timeline whose base has not arrived yet restores, and so does a time before the branch.
 * - Branches, and lines that lost, need their name. They restore over their parents just as well.
 */
export function* planLineage(target: LineageTarget): LineagePlanning<LineagePlanOutcome> {
  if (target.timeline !== undefined) {
    const own = yield* files(target.timeline);
    if (own.length === 0) return { outcome: "nothing" };
    return yield* planOver(target.timeline, yield* parentOf(target.timeline), own, target);
  }
  const empty = new Set<string>();
  for (;;) {
    const { record } = yield { need: "next-writer" };
    if (record === undefined) break;
    const { timeline, parent } = record;
    if (empty.has(timeline)) continue;
    const own = yield* files(timeline);
    if (own.length > 0) return yield* planOver(timeline, parent, own, target);
    empty.add(timeline);
  }
  const stock = yield* files("");
  if (stock.length > 0) return yield* planOver("", null, stock, target);
  return { outcome: "nothing" };
}

function* planOver(
  head: string,
  headParent: TimelinePosition | null,
  own: readonly ReplicaFile[],
  target: RestoreTarget,
): LineagePlanning<LineagePlanOutcome> {
  let planned = own;
  const seen = new Set([head]); // foreign records may name each other in a circle
  let parent = headParent;
  for (;;) {
    const outcome = planRestore(planned, target);
    if (outcome.outcome === "plan") {
      return { ...outcome, timeline: outcome.files.at(-1)?.timeline ?? head };
    }
    if (parent === null || seen.has(parent.timeline)) return { ...outcome, timeline: head };
    const { timeline, txid } = parent;
    seen.add(timeline);
    const older = (yield* files(timeline)).filter((file) => file.maxTxid <= txid);
    const grandparent = yield* parentOf(timeline);
    // A branch may lie before the parent's own branch point: then only that much of the grandparent counts.
    parent =
      grandparent === null || grandparent.txid <= txid ? grandparent : { ...grandparent, txid };
    // The younger timeline's files last: of two equal ranges, its own is the base.
    planned = [...older, ...planned];
  }
}

function* files(timeline: string): LineagePlanning<readonly ReplicaFile[]> {
  return (yield { need: "files", timeline }).files ?? [];
}

function* parentOf(timeline: string): LineagePlanning<TimelinePosition | null> {
  return (yield { need: "founder", timeline }).record?.parent ?? null;
}
