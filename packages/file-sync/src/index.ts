export { BlobUses, type UseSpan } from "./blob-uses.ts";
export type { BadEntry, PullProgress } from "./build-tree.ts";
export {
  chooseManifest,
  earlierManifests,
  type Lineage,
  laterManifests,
} from "./choose-manifest.ts";
export { FileSyncError, type FileSyncErrorCode } from "./errors.ts";
export type { FileSyncEvent, Note } from "./events.ts";
export { openFilePusher } from "./file-pusher.ts";
export type { Change, Judge, Verdict } from "./judge.ts";
export type { DirectoryEntry, FileEntry, Manifest, ManifestEntry } from "./manifest.ts";
export {
  compareManifests,
  type ManifestRef,
  manifestKey,
  parseManifestKey,
  pointerKey,
} from "./manifest-key.ts";
export { listManifests, readManifest, readPointer } from "./manifests.ts";
export { type PruneOptions, type PruneResult, type PruneStop, prune } from "./prune.ts";
export { markPruned, prunedAgeMs } from "./prune-mark.ts";
export { type PullOptions, type PullResult, previewPull, pullTree } from "./pull.ts";
export { PushLoop, type PushLoopDeps } from "./push-loop.ts";
export type {
  FilePusher,
  FilePusherOptions,
  FilePusherStatus,
  PushOutcome,
  PushPlace,
  PushRequest,
} from "./push-types.ts";
export { type RepairableBlob, type RepairResult, repairBlobs } from "./repair-blobs.ts";
export type { ContentCheck } from "./store-file.ts";
export type { TreeSwap } from "./swap-moves.ts";
export { finishSwapTrees, type SwapOptions, swapTrees } from "./swap-tree.ts";
export type { SyncRoot } from "./sync-root.ts";
export {
  type BadBlob,
  type VerifyOptions,
  type VerifyResult,
  verifyBlobs,
} from "./verify-blobs.ts";
export { type RootWatch, type WatchOptions, watchRoots } from "./watch.ts";
