import type { RetryNotice, StoreLocation } from "@vaultwarden-stream/object-store";
import { listReplica, type ReplicaListing } from "../list-replica.ts";
import { openReplicaRoot } from "../open-replica-root.ts";
import {
  badFiles,
  type ConfirmedPosition,
  describeTimelines,
  lostRanges,
  sizeOf,
} from "./plan-verification.ts";
import { isInSubset, readFiles, type Subset } from "./read-files.ts";
import { tryRestore } from "./try-restore.ts";
import type { ReplicaVerification } from "./verification.ts";

export interface VerifyReplicaOptions {
  /** URL or path of the replica. A replica that stock Litestream wrote is verified too. */
  readonly replica: StoreLocation;
  /** Prefix of the timelines below the replica's URL: "" (default), or for example "db/". */
  readonly timelinesUnder?: string;
  /** Names and the chain only: no file is read and nothing restored. */
  readonly isQuick?: boolean;
  /** Read only this part of the files. The trial restore is whole in any case. */
  readonly subset?: Subset;
  /** What somebody knows to be stored: the store must have it. */
  readonly confirmed?: ConfirmedPosition;
  /** Where the trial restore is made, in a directory of its own that is removed again. Default: the system's for temporary files. */
  readonly temporaryDirectory?: string;
  readonly onProgress?: (progress: VerifyProgress) => void;
  /** Called before a failed request is sent again. */
  readonly onRetry?: (notice: RetryNotice) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyProgress {
  readonly phase: "reading" | "restoring";
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/**
 * Verifies a replica from the outside, with nothing but the store: that no TXID is missing, that every file is what was written, and that the
 * newest state restores. Writes nothing to the store. Memory does not grow with the data, apart from the listing.
 *
 * @throws {ReplicaError} `NOTHING_TO_RESTORE`, `REPLICA_UNSUPPORTED`, `REPLICA_MALFORMED`. @throws errors of the store as they are: then
 *   nothing is known.
 */
export async function verifyReplica(options: VerifyReplicaOptions): Promise<ReplicaVerification> {
  const { replica, subset, confirmed, temporaryDirectory, onProgress, signal } = options;
  const root = openReplicaRoot(replica, options);
  let listing = await listReplica(options);
  const files = listing.timelines
    .flatMap((timeline) => (options.isQuick === true ? [] : timeline.files))
    .filter(({ key }) => subset === undefined || isInSubset(key, subset));
  const bytesTotal = sizeOf(files);
  let bytesDone = 0;
  const findings = await readFiles(root.store, files, {
    ...(signal === undefined ? {} : { signal }),
    onFile: ({ size }) => {
      bytesDone += size;
      onProgress?.({ phase: "reading", bytesDone, bytesTotal });
    },
  });
  // Retention may have removed some meanwhile; then a new listing does not have them, and is whole without.
  const hasVanished = [...findings.values()].some(({ state }) => state === "vanished");
  if (hasVanished) listing = await listReplica(options);

  const timelines = describeTimelines(listing, confirmed);
  const problems = [...lostRanges(listing, timelines), ...badFiles(listing, files, findings)];
  const { trial, problems: further } = await restoreHead(listing);
  problems.push(...further);
  return {
    location: listing.location,
    isSound: problems.length === 0 && trial?.outcome !== "inconclusive",
    head: listing.head,
    timelines,
    problems,
    fileCount: timelines.reduce((count, { fileCount }) => count + fileCount, 0),
    bytes: timelines.reduce((sum, { bytes }) => sum + bytes, 0),
    filesRead: files.length,
    bytesRead: bytesTotal,
    restore: trial,
  };

  async function restoreHead({ head }: ReplicaListing) {
    if (options.isQuick === true || head === null) return { trial: null, problems: [] };
    return await tryRestore(root, head, {
      temporaryDirectory,
      onProgress: (progress) => onProgress?.({ phase: "restoring", ...progress }),
      signal,
    });
  }
}
