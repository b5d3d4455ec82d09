import type { EpochListing, ReplicaListing, TimelineListing } from "../list-replica.ts";
import { deadLines, keptUntilMs } from "./dead-lines.ts";
import { lineOf } from "./line-files.ts";
import {
  type OfferedInstant,
  type OfferedRange,
  offeredInstants,
  offeredRanges,
} from "./offered-instants.ts";
import type { RetentionTimeline } from "./plan-retention.ts";
import type { MaintenancePolicy } from "./policy.ts";

/** What retention keeps of a replica, and until when. */
export interface ReplicaOffer {
  /** Of the head's line, oldest first: what a restore to a time can give. */
  readonly ranges: readonly OfferedRange[];
  /** The same one by one. */
  readonly instants: readonly OfferedInstant[];
  /** As in the listing, in its order. */
  readonly timelines: readonly TimelineOffer[];
}

export interface TimelineOffer {
  readonly timeline: string;
  /** How many of the instants lie in this timeline. */
  readonly offeredCount: number;
  /** States that can be restored besides, by TXID or by the timeline's name: finer than what is offered, or of a dead line. They go without notice. */
  readonly beyondCount: number;
  /** Until when the part of it can be asked for by name that the head does not restore over. Null: there is none. */
  readonly keptUntil: Date | null;
}

/** Pure. @param nowMs - by the store's clock as far as known; a minute more or less changes nothing that matters. */
export function describeOffer(
  { head, timelines, epochs }: Pick<ReplicaListing, "head" | "timelines" | "epochs">,
  policy: MaintenancePolicy,
  nowMs: number,
): ReplicaOffer {
  const known = new Map(
    timelines.map((listed) => [listed.timeline, toRetentionTimeline(listed, epochs)]),
  );
  const instants = head === null ? [] : offeredInstants(lineOf(head, known), policy, nowMs);
  const ends = new Map(
    deadLines(head ?? undefined, known).map((dead) => [
      dead.timeline.timeline,
      new Date(keptUntilMs(dead, policy)),
    ]),
  );
  return {
    ranges: offeredRanges(instants, policy),
    instants,
    timelines: timelines.map(({ timeline, recoveryPoints }) => {
      const offeredCount = instants.filter((instant) => instant.timeline === timeline).length;
      const keptUntil = timeline === "" ? null : (ends.get(timeline) ?? null);
      return {
        timeline,
        offeredCount,
        beyondCount: recoveryPoints.length - offeredCount,
        keptUntil,
      };
    }),
  };
}

/** A listing does not say when files were stored: their own times and their writers' signs of life come near it, and are not later. */
function toRetentionTimeline(
  { timeline, parent, files }: TimelineListing,
  epochs: readonly EpochListing[],
): RetentionTimeline {
  const stored = files.map(({ createdAt }) => createdAt.getTime());
  const alive = epochs
    .filter((epoch) => epoch.timeline === timeline)
    .map(({ aliveAt }) => aliveAt.getTime());
  const lastStoredMs = [...stored, ...alive].reduce((a, b) => Math.max(a, b), 0);
  return { timeline, parent, files, lastStoredMs };
}
