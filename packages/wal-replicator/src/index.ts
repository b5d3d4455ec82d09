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
  ancestorsOf,
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
export { type PreparedDatabase, type PrepareOptions, prepareDatabase } from "./prepare-database.ts";
export { type RecoveryPoint, type RecoveryRange, recoveryRanges } from "./recovery-points.ts";
export type { ReplicaErrorCode } from "./replica/replica-error.ts";
export { ReplicaError } from "./replica/replica-error.ts";
export { replicate } from "./replicate.ts";
export type {
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
export type { ChainSegment, LevelGap, SegmentState } from "./verify/plan-chain.ts";
export type { InstantsLost } from "./verify/plan-costs.ts";
export type { ConfirmedPosition } from "./verify/plan-verification.ts";
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
