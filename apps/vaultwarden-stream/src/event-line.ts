import { formatTxid, type ReplicationEvent } from "wal-replicator";
import { formatBytes, formatCount, formatDuration, formatTime } from "wal-replicator/command-line";
import type { LogFields, LogLevel } from "./logger.ts";
import { describeUpkeepEvent } from "./upkeep-event-line.ts";

/** What the log says about an event of the stream. */
export interface EventLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

export function describeEvent(event: ReplicationEvent): EventLine {
  switch (event.type) {
    case "started":
      return {
        level: event.epoch === null ? "warn" : "info",
        message: `streaming: ${event.continued ? "timeline" : "new timeline"} ${event.timeline}, ${event.epoch === null ? "without an epoch until the store answers" : `epoch ${event.epoch}`} (${event.reason})`,
        fields: {
          event: event.type,
          epoch: event.epoch,
          timeline: event.timeline,
          parentTimeline: event.parent?.timeline ?? null,
          parentTxid: event.parent === null ? null : formatTxid(event.parent.txid),
          continued: event.continued,
          resume: event.resume,
        },
      };
    case "captured":
      return {
        level: "debug",
        message: `captured ${formatTxid(event.txid)}: ${formatCount(event.pages, "page")}, ${formatBytes(event.bytes)} (${event.kind})`,
        fields: {
          event: event.type,
          txid: formatTxid(event.txid),
          kind: event.kind,
          pages: event.pages,
          bytes: event.bytes,
        },
      };
    case "stored":
      return {
        level: "info",
        message: `stored ${formatTxid(event.txid)}: ${formatBytes(event.bytes)}, ${formatDuration(event.sinceCaptureMs)} after its capture`,
        fields: {
          event: event.type,
          txid: formatTxid(event.txid),
          key: event.key,
          bytes: event.bytes,
          sinceCaptureMs: Math.round(event.sinceCaptureMs),
        },
      };
    case "checkpointed":
      return {
        level: "debug",
        message: `checkpoint: ${event.checkpointedFrames} of ${event.walFrames} frames, writers held off for ${formatDuration(event.writeLockHeldMs)}`,
        fields: {
          event: event.type,
          walFrames: event.walFrames,
          checkpointedFrames: event.checkpointedFrames,
          writeLockHeldMs: event.writeLockHeldMs,
        },
      };
    case "store-failing":
      return {
        level: "error",
        message: `the store fails since ${formatTime(event.sinceMs)}: ${event.message}. The vault goes on; ${formatCount(event.waitingFiles, "file")} (${formatBytes(event.waitingBytes)}) wait here${event.hint === undefined ? "" : `. ${event.hint}`}`,
        fields: {
          event: event.type,
          code: event.code,
          waitingFiles: event.waitingFiles,
          waitingBytes: event.waitingBytes,
        },
      };
    case "store-recovered":
      return {
        level: "info",
        message: `the store answers again after ${formatDuration(event.failedForMs)}`,
        fields: { event: event.type, failedForMs: Math.round(event.failedForMs) },
      };
    case "spool-merged":
      return {
        level: "info",
        message: `merged ${formatCount(event.files, "waiting file")} into one: ${formatTxid(event.from)} to ${formatTxid(event.to)} are stored as ${formatTxid(event.into)}, ${formatBytes(event.bytesBefore)} became ${formatBytes(event.bytes)}`,
        fields: {
          event: event.type,
          from: formatTxid(event.from),
          to: formatTxid(event.to),
          into: formatTxid(event.into),
          files: event.files,
          bytesBefore: event.bytesBefore,
          bytes: event.bytes,
        },
      };
    case "spool-full":
      return {
        level: "error",
        message: `nothing is captured since ${formatTime(event.sinceMs)}: ${event.message}. The vault goes on; ${event.hint}`,
        fields: { event: event.type, code: event.code, sinceMs: Math.round(event.sinceMs) },
      };
    case "spool-recovered":
      return {
        level: "info",
        message: `commits are captured again after ${formatDuration(event.failedForMs)}`,
        fields: { event: event.type, failedForMs: Math.round(event.failedForMs) },
      };
    case "store-probed": {
      const isAtomic = event.verdict === "atomic";
      return {
        level: isAtomic ? "info" : "warn",
        message: `conditional writes of the store: ${event.message}${isAtomic ? "" : " A second writer is detected here, and not prevented"}`,
        fields: { event: event.type, verdict: event.verdict },
      };
    }
    case "waiting":
      return {
        level: "warn",
        message: `waiting for another writer: ${event.message}. If nobody renews it, it is stale in ${formatDuration(event.forMs)}. If that one is gone for good, \`run --take-over\` does not wait`,
        fields: {
          event: event.type,
          epoch: event.epoch,
          host: event.owner.host,
          pid: event.owner.pid,
          forMs: Math.round(event.forMs),
        },
      };
    case "epoch-taken":
      return {
        level: "info",
        message: `the store answers: took epoch ${event.epoch} of timeline ${event.timeline}`,
        fields: { event: event.type, epoch: event.epoch, timeline: event.timeline },
      };
    case "lease-failing":
      return {
        level: "warn",
        message: `the lease cannot be renewed: ${event.message} (${event.code}). Once it is stale, another machine may take over`,
        fields: { event: event.type, code: event.code },
      };
    case "lease-renewed":
      return { level: "debug", message: "renewed the lease", fields: { event: event.type } };
    case "fenced":
      return {
        level: "error",
        message: `fenced, another writer has taken over: ${event.message}`,
        fields: {
          event: event.type,
          byEpoch: event.by.epoch,
          byHost: event.by.host,
          byPid: event.by.pid,
          byTimeline: event.by.timeline,
        },
      };
    case "base-stored":
      return {
        level: "info",
        message: `stored the base of the timeline: ${formatTxid(event.txid)}, ${formatBytes(event.bytes)}`,
        fields: {
          event: event.type,
          txid: formatTxid(event.txid),
          key: event.key,
          bytes: event.bytes,
        },
      };
    case "base-failing":
      return {
        level: "warn",
        message: `the base of the timeline is delayed: ${event.message} (${event.code}). Until then it restores over its parent`,
        fields: { event: event.type, code: event.code },
      };
    case "database-replaced":
      return {
        level: "warn",
        message: "another database file lies at the path; the stream begins a new timeline with it",
        fields: { event: event.type },
      };
    case "helper-restarted":
      return {
        level: "warn",
        message: `the replicator ended (${event.signal ?? `code ${event.exitCode}`}) and was started again`,
        fields: { event: event.type, exitCode: event.exitCode, signal: event.signal },
      };
    case "released":
      return {
        level: "info",
        message: `everything is stored: ${formatTxid(event.txid)} in timeline ${event.timeline}; epoch ${event.epoch} released`,
        fields: {
          event: event.type,
          epoch: event.epoch,
          timeline: event.timeline,
          txid: formatTxid(event.txid),
        },
      };
    default:
      return describeUpkeepEvent(event);
  }
}
