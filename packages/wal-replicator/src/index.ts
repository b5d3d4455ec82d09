export type { FormatErrorCode, ReplicationErrorCode } from "./errors.ts";
export { FormatError, InvariantError, ReplicationError } from "./errors.ts";
export type {
  CapturedEvent,
  CheckpointedEvent,
  DatabaseReplacedEvent,
  HelperRestartedEvent,
  ReleasedEvent,
  ReplicationEvent,
  ResumeAction,
  StartedEvent,
  StoredEvent,
  StoreFailingEvent,
  StoreRecoveredEvent,
} from "./events.ts";
export {
  type EpochListing,
  type LevelListing,
  type ListReplicaOptions,
  listReplica,
  type ReplicaListing,
  type TimelineListing,
} from "./list-replica.ts";
export type { Txid } from "./ltx/txid.ts";
export { formatTxid, parseTxid } from "./ltx/txid.ts";
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
export { type RestoreReplicaOptions, restore } from "./restore-replica.ts";
export { spoolDirectory } from "./ship/spool.ts";
export type { DatabaseClass } from "./sqlite/connection.ts";
