import type { RequestOptions, RetryNotice } from "@vaultwarden-stream/object-store";
import type { Txid } from "./ltx/txid.ts";
import { openReplicaRoot } from "./open-replica-root.ts";
import {
  type RecoveryPoint,
  type RecoveryRange,
  recoveryPoints,
  recoveryRanges,
} from "./recovery-points.ts";
import type { ReplicaFile } from "./replica/catalog.ts";
import { type Epoch, listEpochs } from "./replica/epoch.ts";
import { orSayOlder } from "./replica/older-replica.ts";
import { listTimeline, type ReplicaRoot } from "./replica/replica.ts";
import { ReplicaError } from "./replica/replica-error.ts";
import { parentOf } from "./restore/plan-lineage.ts";

export interface ListReplicaOptions {
  /** URL or path of the replica. */
  readonly replica: string;
  /** Prefix of the timelines below the replica's URL: "" (default), or for example "db/". */
  readonly timelinesUnder?: string;
  /** Called before a failed request is sent again. */
  readonly onRetry?: (notice: RetryNotice) => void;
  readonly signal?: AbortSignal;
}

export interface ReplicaListing {
  /** URL of the store, without credentials. */
  readonly location: string;
  /** The timeline that a restore without a name takes; "" is one that stock Litestream wrote directly there. */
  readonly head: string;
  /** The head first, then by age, newest first. */
  readonly timelines: readonly TimelineListing[];
  /** Oldest first; none in a stock replica. */
  readonly epochs: readonly EpochListing[];
}

export interface EpochListing {
  readonly epoch: number;
  readonly timeline: string;
  readonly startedAt: Date;
  /** Where it was given up cleanly; null if it still writes, or ended otherwise. */
  readonly released: { readonly txid: Txid; readonly at: Date } | null;
}

export interface TimelineListing {
  readonly timeline: string;
  /** Where it branched off. */
  readonly parent: { readonly timeline: string; readonly txid: Txid } | null;
  readonly levels: readonly LevelListing[];
  readonly files: readonly ReplicaFile[];
  /** What can be restored of this timeline, over its parents where its own base has not arrived yet; oldest first. */
  readonly recoveryPoints: readonly RecoveryPoint[];
  readonly recoveryRanges: readonly RecoveryRange[];
  /** Files that no restore can use, since files before them are missing. 0 in a sound replica. */
  readonly unreachableFileCount: number;
}

export interface LevelListing {
  readonly level: number;
  readonly fileCount: number;
  readonly bytes: number;
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
}

/**
 * What is in a replica: timelines, levels, files, recovery points and how precise they are. Reads no LTX file: one LIST for
 * the epochs, one a timeline (a page per thousand files), and a GET or two an epoch.
 *
 * @throws {ReplicaError} `NOTHING_TO_RESTORE` if there is no replica; `REPLICA_UNSUPPORTED`; `REPLICA_MALFORMED`. Errors of the store pass unwrapped.
 */
export async function listReplica(options: ListReplicaOptions): Promise<ReplicaListing> {
  const root = openReplicaRoot(options.replica, options);
  const request = options.signal === undefined ? {} : { signal: options.signal };
  return await orSayOlder(root, request, () => readListing(root, request));
}

async function readListing(root: ReplicaRoot, request: RequestOptions): Promise<ReplicaListing> {
  const epochs = await listEpochs(root, request);
  // The order in which a restore looks for the head: newest epoch first, a stock replica last.
  const names = [...new Set(epochs.toReversed().map(({ record }) => record.timeline)), ""];
  const files = new Map<string, readonly ReplicaFile[]>();
  for (const name of names) {
    const catalog = await listTimeline(root, name, request);
    if (catalog.files.length > 0) files.set(name, catalog.files);
  }
  const head = names.find((name) => files.has(name));
  if (head === undefined) throw nothingThere(root, epochs.length);
  return {
    location: root.store.properties.location,
    head,
    timelines: [...files.keys()].map((name) => listOne(name, files, epochs)),
    epochs: epochs.map(({ record, released }) => ({
      epoch: record.epoch,
      timeline: record.timeline,
      startedAt: new Date(record.startedAt),
      released:
        released === null ? null : { txid: released.txid, at: new Date(released.releasedAt) },
    })),
  };
}

function listOne(
  timeline: string,
  files: ReadonlyMap<string, readonly ReplicaFile[]>,
  epochs: readonly Epoch[],
): TimelineListing {
  const own = files.get(timeline) ?? [];
  const parent = parentOf(epochs, timeline);
  const reachable = recoveryPoints([...own, ...inherited(timeline, files, epochs)]);
  const ownEnds = new Set(own.map((file) => file.maxTxid));
  const points = reachable.filter((point) => ownEnds.has(point.txid));
  const reached = new Set(points.map((point) => point.txid));
  return {
    timeline,
    parent,
    levels: summarizeLevels(own),
    files: own,
    recoveryPoints: points,
    recoveryRanges: recoveryRanges(points),
    unreachableFileCount: own.filter((file) => !reached.has(file.maxTxid)).length,
  };
}

/** The files of all ancestors, each up to where the next one branched off. */
function inherited(
  timeline: string,
  files: ReadonlyMap<string, readonly ReplicaFile[]>,
  epochs: readonly Epoch[],
): ReplicaFile[] {
  const ancestors: ReplicaFile[] = [];
  const seen = new Set([timeline]); // foreign records may name each other in a circle
  let limit: bigint | undefined;
  let parent = parentOf(epochs, timeline);
  while (parent !== null && !seen.has(parent.timeline)) {
    seen.add(parent.timeline);
    const upTo: bigint = limit === undefined || parent.txid < limit ? parent.txid : limit;
    limit = upTo;
    ancestors.push(...(files.get(parent.timeline) ?? []).filter((file) => file.maxTxid <= upTo));
    parent = parentOf(epochs, parent.timeline);
  }
  return ancestors;
}

function summarizeLevels(files: readonly ReplicaFile[]): LevelListing[] {
  const levels = new Map<number, LevelListing>();
  for (const { level, size, minTxid, maxTxid } of files) {
    const before = levels.get(level);
    levels.set(level, {
      level,
      fileCount: (before?.fileCount ?? 0) + 1,
      bytes: (before?.bytes ?? 0) + size,
      // A catalog's files ascend within their level.
      minTxid: before?.minTxid ?? minTxid,
      maxTxid: before !== undefined && before.maxTxid > maxTxid ? before.maxTxid : maxTxid,
    });
  }
  return [...levels.values()].sort((a, b) => a.level - b.level);
}

function nothingThere(root: ReplicaRoot, epochCount: number): ReplicaError {
  const { location } = root.store.properties;
  const reason =
    epochCount === 0
      ? `there is no replica at ${location}`
      : `a replica was begun at ${location}, and nothing was stored in it yet`;
  return new ReplicaError("NOTHING_TO_RESTORE", reason, {
    hint: "Check the location; the directory of a replica holds `epochs/` and timelines, a stock one `ltx/`.",
  });
}
