import { listManifests, type ManifestRef } from "@vaultwarden-stream/file-sync";
import {
  describeOffer,
  formatTxid,
  listReplica,
  type MaintenancePolicy,
  type OfferedRange,
  policyWithin,
  type RecoveryRange,
  type ReplicaListing,
  recoveryRanges,
  type TimelineListing,
  type TimelineRole,
  type Txid,
} from "wal-replicator";
import {
  type CommandSpec,
  describeOfferedRanges,
  describeRetry,
  formatBytes,
  formatCount,
  formatDuration,
  formatSpan,
  formatTime,
  interruptible,
} from "wal-replicator/command-line";
import { openRetrying, timelinesUnder } from "../daemon/vault-store.ts";
import { lineOf } from "../restore/lineage.ts";
import { readEverything } from "./read-settings.ts";

export const historyCommand: CommandSpec<object> = {
  name: "history",
  summary: "what can be restored: from when to when, how precisely, and where timelines branch",
  args: [],
  options: [],
  examples: ["vaultwarden-stream history", "docker exec vault vaultwarden-stream history --json"],
  doing: () => "looking at what can be restored",
  run: ({ output, streams }) =>
    interruptible(async (signal) => {
      const { config } = readEverything(streams.env, streams, { level: "error" });
      const listing = await listReplica({
        replica: config.store,
        timelinesUnder,
        onRetry: (notice) => output.warn(describeRetry(notice)),
        signal,
      });
      const manifests = await listManifests(openRetrying(config.store), { signal });
      const report = describeHistory(listing, manifests, policyWithin(config), Date.now());
      output.result(report, formatHistory(report));
      return undefined;
    }),
};

/** What `history --json` prints. */
export interface HistoryReport {
  readonly store: string;
  /** The timeline that a restore takes; null: only branches have files. */
  readonly head: string | null;
  /** What retention keeps of the head's line, by age, oldest first; finer states may be there besides. */
  readonly instants: readonly OfferedRange[];
  /** The head's line, newest first: what `restore --at` reaches. Then the others, each only by its name. */
  readonly timelines: readonly TimelineHistory[];
  readonly files: FilesHistory;
}

interface TimelineHistory {
  readonly timeline: string;
  readonly role: TimelineRole;
  readonly parent: { readonly timeline: string; readonly txid: Txid } | null;
  /** Of an ancestor, where the head's line left it: what lies behind is restored only by its name. Null: all of it counts. */
  readonly upToTxid: Txid | null;
  /** How many of the instants that retention keeps are of this timeline. */
  readonly offeredCount: number;
  /** Until when that part of it is kept that the head does not restore over. Null: there is none. */
  readonly keptUntil: Date | null;
  /** Neighbouring points of one level: as fine as that level is. Oldest first. */
  readonly ranges: readonly RecoveryRange[];
  readonly pointCount: number;
  /** Behind `upToTxid`. */
  readonly pointCountBehind: number;
  readonly snapshots: readonly { readonly txid: Txid; readonly at: Date; readonly bytes: number }[];
  /** Files that no restore can use, since files before them are missing. */
  readonly unusableFileCount: number;
  readonly files: FilesHistory;
}

/** States of attachments, sends and keys. */
interface FilesHistory {
  readonly manifestCount: number;
  readonly from: Date | null;
  readonly to: Date | null;
}

/** Pure. */
export function describeHistory(
  listing: ReplicaListing,
  manifests: readonly ManifestRef[],
  policy: MaintenancePolicy,
  nowMs: number,
): HistoryReport {
  const offer = describeOffer(listing, policy, nowMs);
  const offers = new Map(offer.timelines.map((one) => [one.timeline, one]));
  const limits = headLimits(listing);
  const inLine = [...limits.keys()];
  const rest = listing.timelines.filter(({ timeline }) => !limits.has(timeline));
  const line = inLine.flatMap((name) =>
    listing.timelines.filter(({ timeline }) => timeline === name),
  );
  return {
    store: listing.location,
    head: listing.head,
    instants: offer.ranges,
    timelines: [...line, ...rest].map((timeline) => ({
      ...describeTimeline(
        timeline,
        limits.get(timeline.timeline) ?? null,
        manifests.filter((manifest) => manifest.timeline === timeline.timeline),
      ),
      offeredCount: offers.get(timeline.timeline)?.offeredCount ?? 0,
      keptUntil: offers.get(timeline.timeline)?.keptUntil ?? null,
    })),
    files: describeManifests(manifests),
  };
}

/** The head's line, newest first, and up to where each of it counts; null: to its end. */
function headLimits(listing: ReplicaListing): ReadonlyMap<string, Txid | null> {
  const line = listing.head === null ? [] : lineOf(listing, listing.head);
  return new Map(line.map(({ timeline, upToTxid }) => [timeline, upToTxid ?? null]));
}

function describeTimeline(
  { timeline, role, parent, recoveryPoints, files, unreachableFileCount }: TimelineListing,
  upToTxid: Txid | null,
  manifests: readonly ManifestRef[],
): Omit<TimelineHistory, "offeredCount" | "keptUntil"> {
  const points = recoveryPoints.filter(({ txid }) => upToTxid === null || txid <= upToTxid);
  const snapshots = files.filter(({ level, minTxid }) => level === snapshotLevel && minTxid === 1n);
  return {
    timeline,
    role,
    parent,
    upToTxid,
    ranges: recoveryRanges(points),
    pointCount: points.length,
    pointCountBehind: recoveryPoints.length - points.length,
    snapshots: snapshots.map(({ maxTxid, createdAt, size }) => ({
      txid: maxTxid,
      at: createdAt,
      bytes: size,
    })),
    unusableFileCount: unreachableFileCount,
    files: describeManifests(manifests),
  };
}

function describeManifests(manifests: readonly ManifestRef[]): FilesHistory {
  const times = manifests.map(({ time }) => time).sort((a, b) => a.getTime() - b.getTime());
  return { manifestCount: manifests.length, from: times.at(0) ?? null, to: times.at(-1) ?? null };
}

const snapshotLevel = 9;

const roles: Record<TimelineRole, string> = {
  head: "the head: what a restore takes",
  ancestor: "the head came from it",
  branch: "a branch: what a fenced or diverged side had",
  lost: "a dead end: its writer was overtaken",
  stock: "written by Litestream, not part of the head",
};

export function formatHistory({ store, instants, timelines, files }: HistoryReport): string {
  const lines = [`what can be restored from ${store}`, ...describeOfferedRanges(instants)];
  for (const timeline of timelines) lines.push("", ...formatTimeline(timeline));
  lines.push("", `attachments, sends and keys: ${formatFiles(files)}`);
  return lines.join("\n");
}

function formatTimeline(history: TimelineHistory): string[] {
  const { timeline, role, parent, upToTxid, ranges, snapshots, unusableFileCount } = history;
  const name = timeline === "" ? "(unnamed)" : timeline;
  const lines = [`timeline ${name}, ${roles[role]}`];
  if (parent !== null) {
    lines.push(`  branched from ${parent.timeline} at TXID ${formatTxid(parent.txid)}`);
  }
  for (const range of ranges) lines.push(`  ${formatRange(range)}`);
  if (ranges.length === 0) {
    lines.push(
      upToTxid === null
        ? "  nothing here can be restored: the first file is missing"
        : "  nothing of it is left up to where the head branched off",
    );
  }
  if (snapshots.length > 0) lines.push(`  ${formatSnapshots(snapshots)}`);
  if (history.pointCountBehind > 0) {
    lines.push(
      `  ${formatCount(history.pointCountBehind, "point")} behind TXID ${formatTxid(upToTxid as Txid)}, where the head left it: \`restore --timeline ${timeline}\``,
    );
  } else if (role === "branch" || role === "lost") {
    lines.push(`  restored by its name only: \`restore --timeline ${timeline}\``);
  }
  if (history.keptUntil !== null) {
    const part = role === "ancestor" ? "what lies behind the branch" : "it";
    lines.push(`  ${part} is kept until ${formatTime(history.keptUntil)}, at least`);
  }
  if (unusableFileCount > 0) {
    lines.push(
      `  ${formatCount(unusableFileCount, "file")} cannot be used, since files before them are missing: see \`verify\``,
    );
  }
  if (history.files.manifestCount > 0) lines.push(`  files: ${formatFiles(history.files)}`);
  return lines;
}

function formatRange({ level, from, to, pointCount, precisionMs }: RecoveryRange): string {
  const precision =
    precisionMs === 0 ? "every stored change" : `at most ${formatDuration(precisionMs)} apart`;
  return `${formatSpan(from, to)}: ${formatCount(pointCount, "point")}, ${precision} (level ${level})`;
}

function formatSnapshots(snapshots: TimelineHistory["snapshots"]): string {
  const newest = snapshots.at(-1);
  if (newest === undefined) return "no snapshot";
  const { at, bytes } = newest;
  return `${formatCount(snapshots.length, "snapshot")}, the newest of ${formatTime(at)}, ${formatBytes(bytes)}`;
}

function formatFiles({ manifestCount, from, to }: FilesHistory): string {
  if (from === null || to === null) return "no state of them is stored";
  return `${formatCount(manifestCount, "state")}, ${formatTime(from)} to ${formatTime(to)}`;
}
