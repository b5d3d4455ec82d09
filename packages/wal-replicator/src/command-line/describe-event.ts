import type { RetryNotice } from "@vaultwarden-stream/object-store";
import type { ReplicationEvent } from "../events.ts";
import { formatTxid } from "../ltx/txid.ts";
import { formatBytes, formatCount, formatDuration } from "./format.ts";

export interface EventLine {
  readonly level: "warn" | "info" | "debug";
  /** One line, without the time. */
  readonly text: string;
}

/** An event in words, for a log or a terminal. */
export function describeEvent(event: ReplicationEvent): EventLine {
  switch (event.type) {
    case "started": {
      const branch =
        event.parent === null
          ? ""
          : `, branched from ${event.parent.timeline} at ${formatTxid(event.parent.txid)}`;
      const how = event.continued ? "continues" : "begins";
      return info(
        `epoch ${event.epoch} ${how} timeline ${event.timeline}${branch} (${event.reason})`,
      );
    }
    case "captured":
      return {
        level: "debug",
        text: `captured ${formatTxid(event.txid)}: ${formatCount(event.pages, "page")}, ${formatBytes(event.bytes)} (${event.kind})`,
      };
    case "stored":
      return info(
        `stored ${formatTxid(event.txid)}, ${formatBytes(event.bytes)}, ${formatDuration(event.sinceCaptureMs)} after its capture`,
      );
    case "checkpointed":
      return {
        level: "debug",
        text: `checkpointed ${event.checkpointedFrames} of ${formatCount(event.walFrames, "frame")}, writers held off for ${formatDuration(event.writeLockHeldMs)}`,
      };
    case "store-failing":
      return warn(
        `the store fails: ${event.message} (${event.code}); ${formatCount(event.waitingFiles, "file")}, ${formatBytes(event.waitingBytes)} wait in the spool, and the application goes on${event.hint === undefined ? "" : `. ${event.hint}`}`,
      );
    case "store-recovered":
      return info(`the store answers again, after ${formatDuration(event.failedForMs)}`);
    case "database-replaced":
      return warn("another file lies at the database's path: a new timeline begins with it");
    case "helper-restarted":
      return warn(
        `the helper process ended ${event.signal === null ? `with exit code ${event.exitCode}` : `by ${event.signal}`} and was started again`,
      );
    case "released":
      return info(
        `released epoch ${event.epoch} of timeline ${event.timeline} at ${formatTxid(event.txid)}`,
      );
  }
}

/** A request that failed and is going to be sent again, in words. */
export function describeRetry({ error, delayMs }: RetryNotice): string {
  return `the store fails: ${error.message} (${error.code}); trying again in ${formatDuration(delayMs)}`;
}

function info(text: string): EventLine {
  return { level: "info", text };
}

function warn(text: string): EventLine {
  return { level: "warn", text };
}
