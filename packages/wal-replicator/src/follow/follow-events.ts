import type { Txid } from "../ltx/txid.ts";
import type { RestoreReason } from "./plan-follow.ts";

/** What a follower says while it goes on by itself. */
export type FollowEvent =
  | CopyOpenedEvent
  | CopyRestoringEvent
  | CopyRestoredEvent
  | AppliedEvent
  | TimelineChangedEvent
  | CopyBlockedEvent
  | FollowFailingEvent
  | FollowRecoveredEvent
  | FollowStalledEvent;

/** A copy was there, and is followed on from where it stood. */
export interface CopyOpenedEvent {
  readonly type: "copy-opened";
  readonly timeline: string;
  readonly txid: Txid;
}

/** A whole restore begins beside the copy. */
export interface CopyRestoringEvent {
  readonly type: "copy-restoring";
  /** `no-copy`: there is none yet. All others replace what the copy holds, in one transaction, once the restore is verified. */
  readonly reason: "no-copy" | RestoreReason;
  /** Why, in words. */
  readonly message: string;
}

export interface CopyRestoredEvent {
  readonly type: "copy-restored";
  readonly timeline: string;
  readonly txid: Txid;
  /** Of the copy. */
  readonly bytes: number;
}

/** One transaction: the copy is at this position for every reader from now on, durably. */
export interface AppliedEvent {
  readonly type: "applied";
  readonly timeline: string;
  readonly txid: Txid;
  /** Of its newest commit. */
  readonly at: Date;
  readonly fileCount: number;
  readonly pageCount: number;
}

/** Another writer goes on, from the TXID where the copy was, or will be. */
export interface TimelineChangedEvent {
  readonly type: "timeline-changed";
  readonly from: string;
  readonly to: string;
  readonly txid: Txid;
}

/** Readers hold the copy and keep the next transaction waiting. Said once for each time. */
export interface CopyBlockedEvent {
  readonly type: "copy-blocked";
  readonly forMs: number;
}

/** Something failed and is tried again. Said again only if the cause changes. The copy stays at its last good state. */
export interface FollowFailingEvent {
  readonly type: "follow-failing";
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

export interface FollowRecoveredEvent {
  readonly type: "follow-recovered";
  readonly failedForMs: number;
}

/** For so long nothing has shown that the copy is as new as the replica, whatever the cause. Ends with `follow-recovered`. */
export interface FollowStalledEvent {
  readonly type: "follow-stalled";
  readonly lagMs: number;
}
