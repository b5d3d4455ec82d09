import { isNotFound, type RequestOptions } from "@vaultwarden-stream/object-store";
import type { ReplicaFile } from "../replica/catalog.ts";
import type { EpochMode } from "../replica/epoch.ts";
import type { EpochLog } from "../replica/epoch-log.ts";
import type { ReplicaRoot } from "../replica/replica.ts";
import {
  formatEpochKey,
  isTimelineName,
  parseLtxKey,
  parseTimelineName,
  snapshotLevel,
} from "../replica/replica-layout.ts";
import type { RetentionTimeline } from "./plan-retention.ts";

export interface ReadLines {
  /** All timelines that have files, by name. */
  readonly timelines: ReadonlyMap<string, RetentionTimeline>;
  /** Timelines that do not begin with TXID 1, and of which no epoch says where they branched off: nobody knows what they need. */
  readonly unknown: readonly string[];
  /** When merged files were stored, by their key and the store's clock, in milliseconds since the Unix epoch. */
  readonly storedMs: ReadonlyMap<string, number>;
}

/**
 * All timelines of a replica and how they come from each other: one LIST over everything below the timelines' prefix, however many there are, and a
 * GET for each timeline's first epoch that the log has not read yet. What stock Litestream wrote beside them is nobody's parent and not looked at.
 */
export async function readLines(
  root: ReplicaRoot,
  log: EpochLog,
  request: RequestOptions,
): Promise<ReadLines> {
  const { listed, storedMs } = await listAll(root, request);
  const timelines = new Map<string, RetentionTimeline>();
  const unknown: string[] = [];
  for (const [timeline, { files, lastStoredMs }] of listed) {
    const record = await log.foundingRecord(timeline);
    const parent = record?.parent ?? null;
    if (record === undefined && !files.some(isBeginning)) unknown.push(timeline);
    const bornMs = Math.max(lastStoredMs, ...foundedMs(timeline, log));
    timelines.set(timeline, { timeline, parent, files, lastStoredMs: bornMs });
  }
  return { timelines, unknown, storedMs };
}

/** A snapshot is none: the increments before it may go back to a parent. */
function isBeginning({ level, minTxid }: ReplicaFile): boolean {
  return level < snapshotLevel && minTxid === 1n;
}

/** A branch may bring what was captured long ago: its age counts from the day on which it came. */
function foundedMs(timeline: string, log: EpochLog): number[] {
  const founder = parseTimelineName(timeline);
  return log.ids
    .filter(
      ({ epoch, nonce }) => epoch === founder?.epoch && (nonce ?? founder.nonce) === founder.nonce,
    )
    .map(({ recordModified }) => recordModified.getTime());
}

interface ListedTimeline {
  readonly files: ReplicaFile[];
  lastStoredMs: number;
}

async function listAll(
  root: ReplicaRoot,
  request: RequestOptions,
): Promise<{
  readonly listed: ReadonlyMap<string, ListedTimeline>;
  readonly storedMs: ReadonlyMap<string, number>;
}> {
  const prefix = root.prefix + root.timelinesUnder;
  const timelines = new Map<string, ListedTimeline>();
  const storedMs = new Map<string, number>();
  for await (const page of root.store.list(prefix, request)) {
    for (const { key, size, lastModified, timestamp } of page) {
      const [, timeline = "", rest = ""] = /^([^/]+)\/(.+)$/.exec(key.slice(prefix.length)) ?? [];
      const parts = isTimelineName(timeline) ? parseLtxKey(rest) : undefined;
      if (parts === undefined) continue;
      const { level, minTxid, maxTxid } = parts;
      const createdAt = timestamp ?? lastModified;
      const known = timelines.get(timeline) ?? { files: [], lastStoredMs: 0 };
      known.files.push({ timeline, level, minTxid, maxTxid, key, size, createdAt });
      known.lastStoredMs = Math.max(known.lastStoredMs, lastModified.getTime());
      timelines.set(timeline, known);
      if (level > 0) storedMs.set(key, lastModified.getTime());
    }
  }
  return { listed: timelines, storedMs };
}

/**
 * Whether an epoch was taken since the log was read: by a branch, for a writer would have fenced us. One HEAD where a number has one key, else one LIST.
 */
export async function isEpochAbove(
  root: ReplicaRoot,
  log: EpochLog,
  mode: EpochMode,
  request: RequestOptions,
): Promise<boolean> {
  if (mode.kind === "detected") {
    return (await log.readAgain(request)).ids.length > log.ids.length;
  }
  const key = formatEpochKey({ epoch: log.highestNumber + 1, nonce: undefined }, "record");
  try {
    await root.store.head(root.prefix + key, request);
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
