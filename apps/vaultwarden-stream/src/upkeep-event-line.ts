import { formatTxid, type ReplicationEvent } from "wal-replicator";
import {
  describeSound,
  describeStage,
  formatBytes,
  formatCount,
  formatDuration,
  formatTime,
} from "wal-replicator/command-line";
import type { EventLine } from "./event-line.ts";

/** What is done besides streaming: levels, snapshots, and who watches over it all. */
export type UpkeepEvent = Extract<
  ReplicationEvent,
  {
    readonly type:
      | "compacted"
      | "snapshot-stored"
      | "maintenance-failing"
      | "maintenance-recovered"
      | "retained"
      | "retention-held"
      | "retention-resumed"
      | "deletes-ignored"
      | "files-vanished"
      | "stalled"
      | "stall-ended"
      | "source-checked"
      | "source-check-failing";
  }
>;

export function describeUpkeepEvent(event: UpkeepEvent): EventLine {
  switch (event.type) {
    case "compacted":
      return {
        level: "debug",
        message: `merged ${formatCount(event.files, "file")} into one of level ${event.level}: ${formatTxid(event.minTxid)} to ${formatTxid(event.maxTxid)}, ${formatBytes(event.bytesBefore)} became ${formatBytes(event.bytes)}`,
        fields: {
          event: event.type,
          fileLevel: event.level,
          minTxid: formatTxid(event.minTxid),
          maxTxid: formatTxid(event.maxTxid),
          key: event.key,
          files: event.files,
          bytesBefore: event.bytesBefore,
          bytes: event.bytes,
        },
      };
    case "snapshot-stored":
      return {
        level: "info",
        message: `stored a snapshot of ${formatTxid(event.txid)}: ${formatBytes(event.bytes)}`,
        fields: {
          event: event.type,
          txid: formatTxid(event.txid),
          key: event.key,
          bytes: event.bytes,
        },
      };
    case "maintenance-failing":
      return {
        level: "warn",
        message: `${describeWork(event)} fails since ${formatTime(event.sinceMs)}: ${event.message} (${event.code}). It is tried again, and what is stored grows meanwhile${event.hint === undefined ? "" : `. ${event.hint}`}`,
        fields: {
          event: event.type,
          work: event.work,
          fileLevel: event.level,
          code: event.code,
        },
      };
    case "maintenance-recovered":
      return {
        level: "info",
        message: `${describeWork(event)} works again after ${formatDuration(event.failedForMs)}`,
        fields: {
          event: event.type,
          work: event.work,
          fileLevel: event.level,
          failedForMs: Math.round(event.failedForMs),
        },
      };
    case "retained":
      return {
        level: "info",
        message: `removed ${formatCount(event.files, "file")} of the database (${formatBytes(event.bytes)}) that no moment needs any more${event.remaining === 0 ? "" : `; ${event.remaining} follow`}`,
        fields: {
          event: event.type,
          files: event.files,
          bytes: event.bytes,
          remaining: event.remaining,
        },
      };
    case "retention-held":
      return {
        level: "warn",
        message: `nothing is removed from the store: ${event.message}`,
        fields: { event: event.type, reason: event.reason },
      };
    case "retention-resumed":
      return {
        level: "info",
        message: "what no moment needs is removed from the store again",
        fields: { event: event.type },
      };
    case "deletes-ignored":
      return {
        level: "warn",
        message: `the store has said of ${formatCount(event.files, "file")} that they are deleted, and lists them still (${event.key}, for one): it grows, and so does its bill. Look at its versioning and its locks`,
        fields: { event: event.type, files: event.files, key: event.key },
      };
    case "files-vanished":
      return {
        level: "error",
        message: `${formatCount(event.files, "file")} of the database are gone from the store, and we have not deleted them (${event.key}, for one): find out who deletes there, or which rule of the bucket, and run \`vaultwarden-stream verify\``,
        fields: { event: event.type, files: event.files, key: event.key },
      };
    case "stalled":
      return {
        level: "error",
        message: `stalled: ${describeStage(event.stage)}, and no error says why; ${formatBytes(event.bytes)} wait since ${formatTime(event.sinceMs)}. The vault goes on. If it does not end by itself, start the daemon again, and report it`,
        fields: {
          event: event.type,
          stage: event.stage,
          sinceMs: Math.round(event.sinceMs),
          bytes: event.bytes,
        },
      };
    case "stall-ended":
      return {
        level: "info",
        message: `${event.stage} gets on again after ${formatDuration(event.stalledForMs)}`,
        fields: {
          event: event.type,
          stage: event.stage,
          stalledForMs: Math.round(event.stalledForMs),
        },
      };
    case "source-checked": {
      const { complaint, lastSound } = event;
      return {
        level: complaint === undefined ? "info" : "error",
        message:
          complaint === undefined
            ? `the database is sound: integrity_check took ${formatDuration(event.durationMs)}`
            : `the vault's DATABASE IS DAMAGED, and what is stored since is an exact copy of the damage: ${complaint}. ${describeSound(lastSound)}`,
        fields: {
          event: event.type,
          complaint: complaint ?? null,
          durationMs: Math.round(event.durationMs),
          lastSoundTimeline: lastSound?.timeline ?? null,
          lastSoundTxid: lastSound === undefined ? null : formatTxid(lastSound.txid),
        },
      };
    }
    case "source-check-failing":
      return {
        level: "warn",
        message: `the database could not be looked through, which says nothing about it: ${event.message} (${event.code}). It is tried again within the hour`,
        fields: { event: event.type, code: event.code },
      };
  }
}

function describeWork({
  work,
  level,
}: Pick<Extract<UpkeepEvent, { work: unknown }>, "work" | "level">): string {
  return level === null ? work : `${work} of level ${level}`;
}
