import type { RequestOptions, RetryNotice, StoreLocation } from "@vaultwarden-stream/object-store";
import type { Txid } from "./ltx/txid.ts";
import { ancestorsOf, lineFiles } from "./maintain/line-files.ts";
import { openReplicaRoot } from "./open-replica-root.ts";
import {
  type RecoveryPoint,
  type RecoveryRange,
  recoveryPoints,
  recoveryRanges,
} from "./recovery-points.ts";
import type { ReplicaFile } from "./replica/catalog.ts";
import { readLease } from "./replica/epoch.ts";
import { type Epoch, EpochLog, type ListedEpoch } from "./replica/epoch-log.ts";
import type { TimelinePosition } from "./replica/epoch-record.ts";
import { orSayOlder } from "./replica/older-replica.ts";
import { findTimeline, type ReplicaRoot } from "./replica/replica.ts";
import { ReplicaError } from "./replica/replica-error.ts";

export interface ListReplicaOptions {
  /** URL or path of the replica. */
  readonly replica: StoreLocation;
  /** Prefix of the timelines below the replica's URL: "" (default), or for example "db/". Without it, what vaultwarden-stream wrote is found too. */
  readonly timelinesUnder?: string;
  /** Called before a failed request is sent again. */
  readonly onRetry?: (notice: RetryNotice) => void;
  readonly signal?: AbortSignal;
}

export interface ReplicaListing {
  /** URL of the store, without credentials. */
  readonly location: string;
  /** The timeline that a restore without a name takes; "" is one that stock Litestream wrote directly there. Null: only branches have files. */
  readonly head: string | null;
  /** The head first, then by age, newest first. */
  readonly timelines: readonly TimelineListing[];
  /** Oldest first; none in a stock replica. */
  readonly epochs: readonly EpochListing[];
}

export interface EpochListing {
  readonly epoch: number;
  /** A `writer` claims the replica; a `branch` only gave what a fenced or diverged side had a timeline of its own. */
  readonly kind: "writer" | "branch";
  readonly owner: { readonly host: string; readonly pid: number };
  readonly timeline: string;
  /** By its owner's clock. */
  readonly startedAt: Date;
  /** Where it was given up cleanly; null if it still writes, or ended otherwise. */
  readonly released: { readonly txid: Txid; readonly at: Date } | null;
  /** When the owner last showed that it lives, by the store's clock: the last renewal of its lease, or the epoch's begin. */
  readonly aliveAt: Date;
  /** How long that is ago, by the store's clock, in milliseconds. Only of the newest writer, unless it was released: nobody else may write. */
  readonly leaseAgeMs: number | null;
}

/**
 * What a timeline is to the replica. `head`: a restore takes it. `ancestor`: the head came from it. `branch`: what a fenced or diverged side
 * had. `lost`: its writer was overtaken, and nothing of the head comes from it. `stock`: what Litestream wrote, with newer things beside it.
 */
export type TimelineRole = "head" | "ancestor" | "branch" | "lost" | "stock";

export interface TimelineListing {
  readonly timeline: string;
  readonly role: TimelineRole;
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
 * the epochs, one a timeline (a page per thousand files), and a GET or two an epoch and one for the lease.
 *
 * @throws {ReplicaError} `NOTHING_TO_RESTORE` if there is no replica; `REPLICA_UNSUPPORTED`; `REPLICA_MALFORMED`. Errors of the store pass unwrapped.
 */
export async function listReplica(options: ListReplicaOptions): Promise<ReplicaListing> {
  const root = openReplicaRoot(options.replica, options);
  const request = options.signal === undefined ? {} : { signal: options.signal };
  return await orSayOlder(root, request, () => readListing(root, request));
}

async function readListing(root: ReplicaRoot, request: RequestOptions): Promise<ReplicaListing> {
  const epochs = await (await EpochLog.read(root, request)).all();
  const leaseAgeMs = async ({ record }: Epoch) => (await readLease(root, record, request)).ageMs;
  return await describeReplica(root, { epochs, leaseAgeMs, moreTimelines: [] }, request);
}

/** What is known of the epochs of a replica. */
interface KnownEpochs {
  /** Ascending. */
  readonly epochs: readonly ListedEpoch[];
  /** Asked of the newest writer, unless it was released. */
  readonly leaseAgeMs: (epoch: Epoch) => Promise<number | null>;
  /** Names of timelines that no epoch speaks of. */
  readonly moreTimelines: readonly string[];
}

/** As `listReplica`, with epochs that were read before. @throws as it. */
export async function describeReplica(
  root: ReplicaRoot,
  { epochs, leaseAgeMs, moreTimelines }: KnownEpochs,
  request: RequestOptions,
): Promise<ReplicaListing> {
  const newestFirst = epochs.toReversed();
  const writers = newestFirst.filter(({ record }) => record.kind === "writer");
  const files = new Map<string, readonly ReplicaFile[]>();
  const known = newestFirst.map(({ record }) => record.timeline);
  for (const name of new Set([...known, ...moreTimelines, ""])) {
    const catalog = await findTimeline(root, name, request);
    if (catalog.files.length > 0) files.set(name, catalog.files);
  }
  if (files.size === 0) throw nothingThere(root, epochs.length);
  // The order in which a restore looks for it: newest writer first, a stock replica last.
  const names = [...writers.map(({ record }) => record.timeline), ""];
  const head = names.find((name) => files.has(name)) ?? null;
  const rest = [...files.keys()].filter((name) => name !== head);
  const lines = new Lines(epochs, head);
  const [newest] = writers;
  return {
    location: root.store.properties.location,
    head,
    timelines: [...(head === null ? [] : [head]), ...rest].map((name) =>
      listOne(name, files, lines),
    ),
    epochs: await Promise.all(
      epochs.map(async (epoch): Promise<EpochListing> => {
        const isLeaseAsked = epoch === newest && epoch.released === null;
        return {
          ...describeEpoch(epoch),
          leaseAgeMs: isLeaseAsked ? await leaseAgeMs(epoch) : null,
        };
      }),
    ),
  };
}

function describeEpoch({ record, released, id }: ListedEpoch): Omit<EpochListing, "leaseAgeMs"> {
  const { epoch, kind, timeline } = record;
  const { host, pid } = record.owner;
  return {
    epoch,
    kind,
    owner: { host, pid },
    timeline,
    startedAt: new Date(record.startedAt),
    released: released === null ? null : { txid: released.txid, at: new Date(released.releasedAt) },
    aliveAt: id.leaseModified ?? id.recordModified,
  };
}

/** How timelines come from each other, by the epochs that wrote them. */
class Lines {
  readonly #newest: ReadonlyMap<string, Epoch>;
  readonly #head: string | null;
  readonly #ancestors: ReadonlySet<string>;

  constructor(epochs: readonly Epoch[], head: string | null) {
    this.#newest = new Map(epochs.map((epoch) => [epoch.record.timeline, epoch]));
    this.#head = head;
    this.#ancestors = new Set(
      head === null ? [] : this.ancestors(head).map(({ timeline }) => timeline),
    );
  }

  role(timeline: string): TimelineRole {
    if (timeline === this.#head) return "head";
    if (this.#ancestors.has(timeline)) return "ancestor";
    if (timeline === "") return "stock";
    return this.#newest.get(timeline)?.record.kind === "branch" ? "branch" : "lost";
  }

  parent(timeline: string): TimelinePosition | null {
    return this.#newest.get(timeline)?.record.parent ?? null;
  }

  ancestors(timeline: string): TimelinePosition[] {
    return ancestorsOf(timeline, (name) => this.parent(name));
  }
}

function listOne(
  timeline: string,
  files: ReadonlyMap<string, readonly ReplicaFile[]>,
  lines: Lines,
): TimelineListing {
  const own = files.get(timeline) ?? [];
  const filesOf = (name: string): readonly ReplicaFile[] => files.get(name) ?? [];
  const reachable = recoveryPoints(lineFiles(timeline, (name) => lines.parent(name), filesOf));
  const ownEnds = new Set(own.map((file) => file.maxTxid));
  const points = reachable.filter((point) => ownEnds.has(point.txid));
  const reached = new Set(points.map((point) => point.txid));
  return {
    timeline,
    role: lines.role(timeline),
    parent: lines.parent(timeline),
    levels: summarizeLevels(own),
    files: own,
    recoveryPoints: points,
    recoveryRanges: recoveryRanges(points),
    unreachableFileCount: own.filter((file) => !reached.has(file.maxTxid)).length,
  };
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
    hint: "Check bucket, prefix and path; the directory of a replica holds `epochs/` and timelines, a stock one `ltx/`.",
  });
}
