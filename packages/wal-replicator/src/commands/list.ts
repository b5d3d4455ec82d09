import type { CommandSpec } from "../command-line/command-line.ts";
import { describeRetry } from "../command-line/describe-event.ts";
import { describeOfferedRanges, formatSpan } from "../command-line/describe-offer.ts";
import { formatBytes, formatCount, formatDuration, formatTime } from "../command-line/format.ts";
import { parseDuration } from "../command-line/parse-time.ts";
import { interruptible } from "../command-line/termination.ts";
import {
  type EpochListing,
  listReplica,
  type ReplicaListing,
  type TimelineListing,
  type TimelineRole,
} from "../list-replica.ts";
import { formatTxid } from "../ltx/txid.ts";
import {
  describeOffer,
  type ReplicaOffer,
  type TimelineOffer,
} from "../maintain/describe-offer.ts";
import { policyWithin } from "../maintain/policy-within.ts";
import type { RecoveryRange } from "../recovery-points.ts";

interface ListCommandOptions {
  readonly files?: true;
  readonly epochs?: true;
  /** In milliseconds. */
  readonly retention?: number;
}

export const listCommand: CommandSpec<ListCommandOptions> = {
  name: "list",
  summary: "Shows what can be restored from a replica, and how precisely.",
  args: [
    [
      "<url>",
      "the replica: s3://bucket/prefix, file:///absolute/path, or a path; stock Litestream's too",
    ],
  ],
  options: [
    { flags: "--files", description: "show every file (--json always has them)" },
    { flags: "--epochs", description: "show every epoch (--json always has them)" },
    {
      flags: "--retention <duration>",
      description: "the retention that the replica is written with (default 30d)",
      parse: (text) => parseDuration(text),
    },
  ],
  examples: ["wal-replicator list /backups/app", "wal-replicator list file:///backups/app --json"],
  doing: ({ args }) => `listing of ${args[0]}`,
  run: async ({ args, options, output }) => {
    const listing = await interruptible((signal) =>
      listReplica({
        replica: args[0] as string,
        onRetry: (notice) => output.warn(describeRetry(notice)),
        signal,
      }),
    );
    const policy = policyWithin({ retentionMs: options.retention });
    const offer = describeOffer(listing, policy, Date.now());
    output.result(toReport(listing, offer), describeListing(listing, offer, options));
    return undefined;
  },
};

/** The JSON of a listing: stable names, sizes in bytes. */
function toReport(listing: ReplicaListing, offer: ReplicaOffer): object {
  return {
    location: listing.location,
    head: listing.head,
    instants: offer.ranges,
    timelines: listing.timelines.map((timeline, index) => ({
      ...timeline,
      ...offer.timelines[index],
      files: timeline.files.map(({ key, level, minTxid, maxTxid, size, createdAt }) => ({
        key,
        level,
        minTxid,
        maxTxid,
        bytes: size,
        createdAt,
      })),
    })),
    epochs: listing.epochs,
  };
}

function describeListing(
  listing: ReplicaListing,
  offer: ReplicaOffer,
  options: ListCommandOptions,
): string {
  const lines = [`replica ${listing.location}`, ...describeOfferedRanges(offer.ranges)];
  for (const [index, timeline] of listing.timelines.entries()) {
    const { keptUntil } = offer.timelines[index] as TimelineOffer;
    lines.push("", ...describeTimeline(timeline, keptUntil, options.files === true));
  }
  const shown = options.epochs === true ? listing.epochs : newestWriter(listing.epochs);
  if (shown.length > 0) lines.push("", ...shown.map(describeEpoch));
  return lines.join("\n");
}

function newestWriter(epochs: readonly EpochListing[]): EpochListing[] {
  return epochs.filter(({ kind }) => kind === "writer").slice(-1);
}

function describeEpoch(listed: EpochListing): string {
  const { epoch, kind, owner, timeline, startedAt, released, aliveAt, leaseAgeMs } = listed;
  const name = kind === "branch" ? `epoch ${epoch} (a branch)` : `epoch ${epoch}`;
  const lease =
    leaseAgeMs === null
      ? `last sign of life ${formatTime(aliveAt)}`
      : `last sign of life ${formatDuration(Math.max(0, leaseAgeMs))} ago`;
  const state =
    released === null
      ? `not released, ${lease}`
      : `released at ${formatTxid(released.txid)}, ${formatTime(released.at)}`;
  return `${name}, since ${formatTime(startedAt)}, by process ${owner.pid} on ${owner.host}: timeline ${timeline}, ${state}`;
}

const roles: Record<TimelineRole, string> = {
  head: "the head: what a restore takes",
  ancestor: "the head came from it",
  branch: "a branch: what a fenced or diverged side had; restore it by its name",
  lost: "a lost line: its writer was overtaken; restore it by its name",
  stock: "not part of the head",
};

function describeTimeline(
  timeline: TimelineListing,
  keptUntil: Date | null,
  withFiles: boolean,
): string[] {
  const name =
    timeline.timeline === "" ? "(unnamed, as stock Litestream writes it)" : timeline.timeline;
  const lines = [`timeline ${name}, ${roles[timeline.role]}`];
  if (timeline.parent !== null) {
    lines.push(
      `  branched from ${timeline.parent.timeline} at TXID ${formatTxid(timeline.parent.txid)}`,
    );
  }
  const first = timeline.recoveryPoints.at(0);
  const last = timeline.recoveryPoints.at(-1);
  if (first === undefined || last === undefined) {
    lines.push("  nothing here can be restored: the first file is missing");
  } else {
    lines.push(
      `  ${formatCount(timeline.recoveryPoints.length, "recovery point")}, TXID ${formatTxid(first.txid)} to ${formatTxid(last.txid)}`,
      ...timeline.recoveryRanges.map((range) => `    ${describeRange(range)}`),
    );
  }
  if (keptUntil !== null) {
    const part = timeline.role === "ancestor" ? "what it has behind the head's branch point" : "it";
    lines.push(`  ${part} is kept until ${formatTime(keptUntil)}, at least`);
  }
  if (timeline.unreachableFileCount > 0) {
    lines.push(
      `  ${formatCount(timeline.unreachableFileCount, "file")} cannot be used: files before them are missing`,
    );
  }
  for (const { level, fileCount, bytes, minTxid, maxTxid } of timeline.levels) {
    lines.push(
      `  level ${level}: ${formatCount(fileCount, "file")}, ${formatBytes(bytes)}, TXID ${formatTxid(minTxid)} to ${formatTxid(maxTxid)}`,
    );
    if (!withFiles) continue;
    for (const file of timeline.files) {
      if (file.level !== level) continue;
      lines.push(
        `    ${formatTime(file.createdAt)}  ${formatBytes(file.size).padStart(10)}  ${file.key}`,
      );
    }
  }
  return lines;
}

function describeRange({ from, to, pointCount, precisionMs }: RecoveryRange): string {
  const precision =
    precisionMs === 0 ? "every stored change" : `at most ${formatDuration(precisionMs)} apart`;
  return `${formatSpan(from, to)}: ${formatCount(pointCount, "point")}, ${precision}`;
}
