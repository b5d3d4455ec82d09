import type { CommandSpec } from "../command-line/command-line.ts";
import { describeRetry } from "../command-line/describe-event.ts";
import { formatBytes, formatCount, formatDuration, formatTime } from "../command-line/format.ts";
import { interruptible } from "../command-line/termination.ts";
import { listReplica, type ReplicaListing, type TimelineListing } from "../list-replica.ts";
import { formatTxid } from "../ltx/txid.ts";
import type { RecoveryRange } from "../recovery-points.ts";

interface ListCommandOptions {
  readonly files?: true;
}

export const listCommand: CommandSpec<ListCommandOptions> = {
  name: "list",
  summary: "Shows what can be restored from a replica, and how precisely.",
  args: [["<url>", "the replica: file:///absolute/path, or a path; stock Litestream's too"]],
  options: [{ flags: "--files", description: "show every file (--json always has them)" }],
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
    output.result(toReport(listing), describeListing(listing, options.files === true));
    return undefined;
  },
};

/** The JSON of a listing: stable names, sizes in bytes. */
function toReport(listing: ReplicaListing): object {
  return {
    location: listing.location,
    head: listing.head,
    timelines: listing.timelines.map((timeline) => ({
      ...timeline,
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

function describeListing(listing: ReplicaListing, withFiles: boolean): string {
  const lines = [`replica ${listing.location}`];
  for (const timeline of listing.timelines) {
    lines.push("", ...describeTimeline(timeline, timeline.timeline === listing.head, withFiles));
  }
  const newest = listing.epochs.at(-1);
  if (newest !== undefined) {
    const state =
      newest.released === null
        ? "not released: it still writes, or ended without saying so"
        : `released at ${formatTxid(newest.released.txid)}`;
    lines.push("", `epoch ${newest.epoch}, since ${formatTime(newest.startedAt)}, ${state}`);
  }
  return lines.join("\n");
}

function describeTimeline(
  timeline: TimelineListing,
  isHead: boolean,
  withFiles: boolean,
): string[] {
  const name =
    timeline.timeline === "" ? "(unnamed, as stock Litestream writes it)" : timeline.timeline;
  const lines = [`timeline ${name}${isHead ? ", the head: what a restore takes" : ""}`];
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
  const when =
    from.getTime() === to.getTime() ? formatTime(from) : `${formatTime(from)} to ${formatTime(to)}`;
  const precision =
    precisionMs === 0 ? "every stored change" : `at most ${formatDuration(precisionMs)} apart`;
  return `${when}: ${formatCount(pointCount, "point")}, ${precision}`;
}
