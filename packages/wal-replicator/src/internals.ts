/** For this repository's own tests: parts that are no promise to anybody. Resolved from sources only, never published. */
export type { FollowCrashPoint } from "./follow/follow-crash-point.ts";
export { rootOfStore, TestSource } from "./follow/follow-testing.ts";
export { type FollowerDeps, RunningFollower } from "./follow/follower.ts";
export { LtxDecoder } from "./ltx/decoder.ts";
export { LtxEncoder } from "./ltx/encoder.ts";
export {
  checksumPage,
  formatChecksum,
  type PageChecksum,
  toggleRolling,
} from "./ltx/page-checksum.ts";
export { toTxid } from "./ltx/txid.ts";
export type { MaintenanceEvent } from "./maintain/events-of-maintenance.ts";
export type { RetentionEvent } from "./maintain/events-of-retention.ts";
export { lineOf, type TimelineFiles } from "./maintain/line-files.ts";
export { Maintainer } from "./maintain/maintainer.ts";
export { type OfferedInstant, offeredInstants } from "./maintain/offered-instants.ts";
export { defaultMaintenancePolicy, type MaintenancePolicy } from "./maintain/policy.ts";
export { Retainer } from "./maintain/retain.ts";
export type { ReplicatorDeps } from "./make-session-deps.ts";
export { Catalog, type ReplicaFile } from "./replica/catalog.ts";
export { encodeTestLtx } from "./replica/encode-test-ltx.ts";
export { type EpochMode, takeEpoch } from "./replica/epoch.ts";
export type { EpochRecord, TimelinePosition } from "./replica/epoch-record.ts";
export {
  type LocalLtxFile,
  listTimeline,
  type ReplicaRoot,
  writeTimelineFile,
} from "./replica/replica.ts";
export {
  formatLtxKey,
  formatTimelineName,
  parseLtxKey,
  timelinePrefix,
} from "./replica/replica-layout.ts";
export { startReplicator } from "./replicator.ts";
export { planLineage } from "./restore/plan-lineage.ts";
export { restoreDatabase } from "./restore/restore.ts";
export { sourceOf } from "./sqlite/wal-builder.ts";
export {
  addFrameToSums,
  decodeFrameHeader,
  frameHeaderBytes,
  frameOffset,
  walFrameBytes,
} from "./sqlite/wal-frame.ts";
export { decodeWalHeader, type WalHeader } from "./sqlite/wal-header.ts";
export { findLatestFrames } from "./sqlite/wal-reader.ts";
