export type { S3Location, StoreLocation } from "@vaultwarden-stream/object-store";
export type { FormatErrorCode, ReplicationErrorCode } from "./errors.ts";
export { FormatError, InvariantError, ReplicationError } from "./errors.ts";
export type {
  BaseFailingEvent,
  BaseStoredEvent,
  CapturedEvent,
  CheckpointedEvent,
  DatabaseReplacedEvent,
  EpochTakenEvent,
  FencedEvent,
  HelperRestartedEvent,
  LeaseFailingEvent,
  LeaseRenewedEvent,
  ReleasedEvent,
  ReplicationEvent,
  ResumeAction,
  SpoolFullEvent,
  SpoolMergedEvent,
  SpoolRecoveredEvent,
  StartedEvent,
  StoredEvent,
  StoreFailingEvent,
  StoreProbedEvent,
  StoreRecoveredEvent,
  WaitingEvent,
} from "./events.ts";
export {
  type FollowEnd,
  type Follower,
  type FollowOptions,
  type FollowStatus,
  follow,
} from "./follow/follow.ts";
export type {
  AppliedEvent,
  CopyBlockedEvent,
  CopyOpenedEvent,
  CopyRestoredEvent,
  CopyRestoringEvent,
  FollowEvent,
  FollowFailingEvent,
  FollowRecoveredEvent,
  FollowStalledEvent,
  TimelineChangedEvent,
} from "./follow/follow-events.ts";
export type { RestoreReason } from "./follow/plan-follow.ts";
export {
  type EpochListing,
  type LevelListing,
  type ListReplicaOptions,
  listReplica,
  type ReplicaListing,
  type TimelineListing,
  type TimelineRole,
} from "./list-replica.ts";
export type { Txid } from "./ltx/txid.ts";
export { formatTxid, parseTxid } from "./ltx/txid.ts";
export { describeOffer, type ReplicaOffer, type TimelineOffer } from "./maintain/describe-offer.ts";
export type {
  CompactedEvent,
  MaintenanceEvent,
  MaintenanceFailingEvent,
  MaintenanceRecoveredEvent,
  MaintenanceWork,
  SnapshotStoredEvent,
} from "./maintain/events-of-maintenance.ts";
export type {
  DeletesIgnoredEvent,
  FilesVanishedEvent,
  RetainedEvent,
  RetentionEvent,
  RetentionHeldEvent,
  RetentionHold,
  RetentionResumedEvent,
} from "./maintain/events-of-retention.ts";
export { ancestorsOf } from "./maintain/line-files.ts";
export type { OfferedInstant, OfferedRange } from "./maintain/offered-instants.ts";
export type { MaintenancePolicy } from "./maintain/policy.ts";
export { policyWithin } from "./maintain/policy-within.ts";
export { type PreparedDatabase, type PrepareOptions, prepareDatabase } from "./prepare-database.ts";
export {
  type PreviewRestoreOptions,
  previewRestore,
  type RestorePreview,
} from "./preview-restore.ts";
export { type RecoveryPoint, type RecoveryRange, recoveryRanges } from "./recovery-points.ts";
export type { ReplicaErrorCode } from "./replica/replica-error.ts";
export { ReplicaError } from "./replica/replica-error.ts";
export { replicate } from "./replicate.ts";
export type {
  MaintenanceFailure,
  MaintenanceStatus,
  Position,
  ReplicateOptions,
  Replication,
  ReplicationStatus,
  StopOptions,
  StopResult,
} from "./replication.ts";
export type { RestoreProgress, RestoreResult } from "./restore/restore.ts";
export type {
  BuiltDatabase,
  RestoredDatabase,
  RestoreIntoPlaceOptions,
} from "./restore/restore-into-place.ts";
export { restoreIntoPlace } from "./restore/restore-into-place.ts";
export { asidePath, finishSwap, listAside, swapDatabase } from "./restore/swap-database.ts";
export { type RestoreReplicaOptions, restore } from "./restore-replica.ts";
export { networkFileSystemOf } from "./ship/check-database.ts";
export { chooseDatabase } from "./ship/choose-database.ts";
export { spoolDirectory } from "./ship/spool.ts";
export { assertSqliteVersion, type DatabaseClass } from "./sqlite/connection.ts";
export type { IfHeld, OnDivergence } from "./start/plan-start.ts";
export {
  type LimitedStore,
  type LimitUploadsOptions,
  limitUploads,
  type StoreUsage,
  type UploadLimits,
} from "./upload-limits.ts";
export type { ChainSegment, LevelGap, SegmentState } from "./verify/plan-chain.ts";
export type { InstantsLost } from "./verify/plan-costs.ts";
export type { ConfirmedPosition } from "./verify/plan-verification.ts";
export {
  lastProven,
  listProofs,
  type ProofPlace,
  proofKey,
  readProofBytes,
} from "./verify/proofs.ts";
export type { Subset } from "./verify/read-files.ts";
export type {
  ReplicaVerification,
  TimelineVerification,
  TrialRestore,
  VerifyProblem,
} from "./verify/verification.ts";
export {
  type VerifyProgress,
  type VerifyReplicaOptions,
  verifyReplica,
} from "./verify/verify-replica.ts";
export type { SourceCheckStatus } from "./watch/source-check-record.ts";
export type {
  SourceCheckEvent,
  SourceCheckedEvent,
  SourceCheckFailingEvent,
} from "./watch/source-checker.ts";
export type { Stage, Stall, StallEndedEvent, StalledEvent } from "./watch/watchdog.ts";
