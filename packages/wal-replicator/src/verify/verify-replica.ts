import type { RetryNotice, StoreLocation } from "@vaultwarden-stream/object-store";
import { describeReplica, type ReplicaListing } from "../list-replica.ts";
import { defaultMaintenancePolicy } from "../maintain/policy.ts";
import { openReplicaRoot } from "../open-replica-root.ts";
import { readLease } from "../replica/epoch.ts";
import type { Epoch, ListedEpoch } from "../replica/epoch-log.ts";
import { epochIdOf } from "../replica/epoch-objects.ts";
import { orSayOlder } from "../replica/older-replica.ts";
import { listTimelineNames } from "./list-timelines.ts";
import { Costs } from "./plan-costs.ts";
import { auditEpochs, orphanTimelines } from "./plan-epoch-audit.ts";
import {
  badFiles,
  type ConfirmedPosition,
  describeTimelines,
  lostRanges,
  sizeOf,
} from "./plan-verification.ts";
import { type EpochObjects, readEpochObjects } from "./read-epochs.ts";
import {
  type FileFinding,
  inReadingOrder,
  isInSubset,
  placeOf,
  readFiles,
  type Subset,
} from "./read-files.ts";
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
  /** No other file is begun after so many milliseconds; the trial restore is whole in any case. Default: no limit. */
  readonly timeLimitMs?: number;
  /** Where an earlier run stopped (`stoppedAt`): reading begins there, and comes round to what is before it. */
  readonly startAt?: string;
  /** What somebody knows to be stored: the store must have it. Said before the call. */
  readonly confirmed?: readonly ConfirmedPosition[];
  /** For how long the states of level 0, 1, 2 … are kept: what is older may lack files. Default: as a stream does by default. */
  readonly keepMs?: readonly number[];
  /** Milliseconds since the Unix epoch. Default: this machine's clock. */
  readonly now?: () => number;
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
  const { replica, subset, confirmed = [], temporaryDirectory, onProgress, signal } = options;
  const { isQuick = false, now = Date.now, timeLimitMs = Number.POSITIVE_INFINITY } = options;
  const root = openReplicaRoot(replica, options);
  const request = signal === undefined ? {} : { signal };
  const endsMs = now() + timeLimitMs;
  // Before the files: what is said to be stored is looked for in a later listing.
  const objects = await readEpochObjects(root, request);
  const epochs = objects.readable();
  const timelineNames = await listTimelineNames(root, request);
  const list = (): Promise<ReplicaListing> =>
    orSayOlder(root, request, () => describeReplica(root, known, request));
  const known = {
    epochs,
    moreTimelines: orphanTimelines(epochs, timelineNames),
    leaseAgeMs: async ({ record }: Epoch): Promise<number | null> => {
      const id = epochIdOf(record);
      if (objects.has(id, "lease") && objects.lease(id) === undefined) return null;
      return (await readLease(root, record, request)).ageMs;
    },
  };
  let listing = await list();

  const wanted = listing.timelines
    .flatMap((timeline) => (isQuick ? [] : timeline.files))
    .filter(({ key }) => subset === undefined || isInSubset(key, subset));
  const files = inReadingOrder(wanted, options.startAt);
  const bytesTotal = sizeOf(files);
  let bytesDone = 0;
  const findings = await readFiles(root.store, files, {
    ...request,
    hasTime: () => now() < endsMs,
    onFile: ({ size }) => {
      bytesDone += size;
      onProgress?.({ phase: "reading", bytesDone, bytesTotal });
    },
  });
  // Retention may have removed some meanwhile; then a new listing does not have them, and is whole without.
  const hasVanished = [...findings.values()].some(({ state }) => state === "vanished");
  if (hasVanished) listing = await list();

  const said = [...confirmed, ...confirmedByLeases(objects, epochs)];
  const timelines = describeTimelines(listing, said);
  const kept = { keepMs: options.keepMs ?? defaultMaintenancePolicy.keepMs, nowMs: now() };
  const costs = new Costs(listing.timelines);
  const problems = [
    ...lostRanges(listing, timelines, kept),
    ...badFiles(listing, files, findings),
    ...auditEpochs({
      objects,
      prefix: root.prefix,
      timelines: timelineNames,
      lastWrites: lastWritesOf(findings),
      costsOfTimeline: (timeline) => costs.ofTimeline(timeline),
    }),
  ];
  const { trial, problems: further } = await restoreHead(listing);
  problems.push(...further);
  const unread = files[findings.size];
  return {
    location: listing.location,
    isSound: problems.length === 0 && trial?.outcome !== "inconclusive",
    head: listing.head,
    timelines,
    problems,
    fileCount: timelines.reduce((count, { fileCount }) => count + fileCount, 0),
    bytes: timelines.reduce((sum, { bytes }) => sum + bytes, 0),
    filesRead: findings.size,
    bytesRead: bytesDone,
    stoppedAt: unread === undefined ? null : placeOf(unread.key),
    restore: trial,
  };

  async function restoreHead({ head }: ReplicaListing) {
    if (isQuick || head === null) return { trial: null, problems: [] };
    return await tryRestore(root, head, {
      temporaryDirectory,
      onProgress: (progress) => onProgress?.({ phase: "restoring", ...progress }),
      signal,
    });
  }
}

/** What a lease says of its timeline: its owner had it from the store. */
function confirmedByLeases(
  objects: EpochObjects,
  epochs: readonly ListedEpoch[],
): ConfirmedPosition[] {
  return epochs.flatMap(({ record, id }) => {
    const txid = objects.lease(id)?.txid ?? null;
    return txid === null ? [] : [{ timeline: record.timeline, txid }];
  });
}

/** By an epoch's nonce: when the newest of the files that name it was written. */
function lastWritesOf(
  findings: ReadonlyMap<string, FileFinding>,
): Map<string, { readonly at: Date; readonly modified: Date }> {
  const writes = new Map<string, { readonly at: Date; readonly modified: Date }>();
  for (const finding of findings.values()) {
    if (finding.state !== "sound" || finding.epochNonce === undefined) continue;
    const { epochNonce, written } = finding;
    const last = writes.get(epochNonce);
    if (last === undefined || written.at > last.at) writes.set(epochNonce, written);
  }
  return writes;
}
