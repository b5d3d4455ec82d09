/** For this repository's own tests: parts that are no promise to anybody. Resolved from sources only, never published. */
export type { ReplicatorDeps } from "./make-session-deps.ts";
export { encodeTestLtx } from "./replica/encode-test-ltx.ts";
export { startReplicator } from "./replicator.ts";
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
