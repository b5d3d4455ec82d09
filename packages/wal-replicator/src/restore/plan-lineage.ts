import type { ReplicaFile } from "../replica/catalog.ts";
import type { Epoch } from "../replica/epoch.ts";
import type { TimelinePosition } from "../replica/epoch-record.ts";
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

/**
 * Plans a restore over all timelines. Yields the name of every timeline whose files it must see, and is sent them.
 *
 * - The head is the timeline of the newest epoch that has any file. A timeline whose files do not restore is an error and not
 *   passed over, since an older one would silently lack what was written since. Behind all epochs comes the unnamed timeline.
 * - What the head cannot reach alone is planned over its lineage: each ancestor counts up to the TXID where the next one branched
 *   off. So a timeline whose base has not arrived yet restores, and so does a time before the branch. Dead branches need their name.
 */
export function* planLineage(
  epochs: readonly Epoch[],
  target: LineageTarget,
): Generator<string, LineagePlanOutcome, readonly ReplicaFile[]> {
  const names =
    target.timeline === undefined
      ? [...new Set(epochs.toReversed().map(({ record }) => record.timeline)), ""]
      : [target.timeline];
  for (const timeline of names) {
    const own = yield timeline;
    if (own.length > 0) return yield* planOver(epochs, timeline, own, target);
  }
  return { outcome: "nothing" };
}

function* planOver(
  epochs: readonly Epoch[],
  head: string,
  own: readonly ReplicaFile[],
  target: RestoreTarget,
): Generator<string, LineagePlanOutcome, readonly ReplicaFile[]> {
  let files = own;
  const seen = new Set([head]); // foreign records may name each other in a circle
  let parent = parentOf(epochs, head);
  for (;;) {
    const outcome = planRestore(files, target);
    if (outcome.outcome === "plan") {
      return { ...outcome, timeline: outcome.files.at(-1)?.timeline ?? head };
    }
    if (parent === null || seen.has(parent.timeline)) return { ...outcome, timeline: head };
    const { timeline, txid } = parent;
    seen.add(timeline);
    const grandparent = parentOf(epochs, timeline);
    const older = (yield timeline).filter((file) => file.maxTxid <= txid);
    // A branch may lie before the parent's own branch point: then only that much of the grandparent counts.
    parent =
      grandparent === null || grandparent.txid <= txid ? grandparent : { ...grandparent, txid };
    // The younger timeline's files last: of two equal ranges, its own is the base.
    files = [...older, ...files];
  }
}

/** Where a timeline branched off; null if it has no parent, or no epoch names it. */
export function parentOf(epochs: readonly Epoch[], timeline: string): TimelinePosition | null {
  return epochs.findLast(({ record }) => record.timeline === timeline)?.record.parent ?? null;
}
