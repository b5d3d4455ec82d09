import type { DeletionReason } from "./plan-retention.ts";

/** What retention tells. Its failures are `maintenance-failing`, as those of all maintenance. */
export type RetentionEvent =
  | RetainedEvent
  | RetentionHeldEvent
  | RetentionResumedEvent
  | DeletesIgnoredEvent
  | FilesVanishedEvent;

/** Files that nobody can ask for any more were deleted. */
export interface RetainedEvent {
  readonly type: "retained";
  readonly files: number;
  readonly bytes: number;
  readonly reasons: Readonly<Record<DeletionReason, number>>;
  /** More than one run deletes: the next one goes on. */
  readonly remaining: number;
}

/**
 * Why nothing is deleted. `clock`: ours and the store's differ by more than five minutes. `append-only`: the store lets us delete nothing, which is
 * how such a store is meant. `unknown-line`: a timeline's first epoch is missing, so nobody knows what it needs. `refused`: the plan would have
 * made something impossible to restore that is offered, which is a mistake in this program.
 */
export type RetentionHold = "clock" | "append-only" | "unknown-line" | "refused";

/** Nothing is deleted from now on; the store grows meanwhile, and nothing else comes of it. Told once for each reason. */
export interface RetentionHeldEvent {
  readonly type: "retention-held";
  readonly reason: RetentionHold;
  /** The cause, and what to do, in sentences. */
  readonly message: string;
}

export interface RetentionResumedEvent {
  readonly type: "retention-resumed";
}

/** The store has said of files that they are deleted, and lists them still: it grows, and so does its bill. */
export interface DeletesIgnoredEvent {
  readonly type: "deletes-ignored";
  readonly files: number;
  /** One of them. */
  readonly key: string;
}

/** Files of our timeline that we have not deleted are gone: somebody else deletes here, or a rule of the bucket does. */
export interface FilesVanishedEvent {
  readonly type: "files-vanished";
  readonly files: number;
  /** One of them. */
  readonly key: string;
}
