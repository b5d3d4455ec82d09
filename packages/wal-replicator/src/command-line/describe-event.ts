import type { RetryNotice } from "@vaultwarden-stream/object-store";
import type { ReplicationEvent } from "../events.ts";
import { formatTxid } from "../ltx/txid.ts";
import type { SourceCheckStatus } from "../watch/source-check-record.ts";
import type { Stage } from "../watch/watchdog.ts";
import { formatBytes, formatCount, formatDuration, formatTime } from "./format.ts";

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
      const who = event.epoch === null ? "no epoch yet:" : `epoch ${event.epoch}`;
      const text = `${who} ${how} timeline ${event.timeline}${branch} (${event.reason})`;
      return event.epoch === null ? warn(text) : info(text);
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
    case "spool-merged":
      return info(
        `merged ${formatTxid(event.from)} to ${formatTxid(event.to)} into ${formatTxid(event.into)} while they wait for the store`,
      );
    case "spool-full":
      return warn(`the spool is full: ${event.message} (${event.code}). ${event.hint}`);
    case "spool-recovered":
      return info(`the spool takes captures again, after ${formatDuration(event.failedForMs)}`);
    case "store-probed": {
      const text = `conditional writes of the store: ${event.message}`;
      if (event.verdict === "atomic") return info(text);
      return warn(`${text} A second writer is detected here, and not prevented`);
    }
    case "waiting":
      return warn(
        `waiting: ${event.message}. It is stale in ${formatDuration(event.forMs)} if nobody renews it; stop the other one, or take over explicitly`,
      );
    case "epoch-taken":
      return info(`took epoch ${event.epoch} of timeline ${event.timeline}`);
    case "lease-failing":
      return warn(
        `the lease cannot be renewed: ${event.message} (${event.code}); another host may take over once it is stale`,
      );
    case "lease-renewed":
      return { level: "debug", text: "renewed the lease" };
    case "fenced":
      return warn(
        `fenced: ${event.message}. Stop the application: what it commits from now on is kept on a timeline of its own, and is no part of the newest history`,
      );
    case "base-stored":
      return info(
        `stored the base of the timeline up to ${formatTxid(event.txid)}, ${formatBytes(event.bytes)}`,
      );
    case "base-failing":
      return warn(`the base of the timeline is delayed: ${event.message} (${event.code})`);
    case "compacted":
      return {
        level: "debug",
        text: `merged ${formatCount(event.files, "file")} into level ${event.level}, ${formatTxid(event.minTxid)} to ${formatTxid(event.maxTxid)}, ${formatBytes(event.bytes)}`,
      };
    case "snapshot-stored":
      return info(`stored a snapshot of ${formatTxid(event.txid)}, ${formatBytes(event.bytes)}`);
    case "maintenance-failing": {
      const what = event.level === null ? event.work : `${event.work} of level ${event.level}`;
      return warn(
        `${what} fails: ${event.message} (${event.code}); it is tried again, and what is stored grows meanwhile${event.hint === undefined ? "" : `. ${event.hint}`}`,
      );
    }
    case "maintenance-recovered": {
      const what = event.level === null ? event.work : `${event.work} of level ${event.level}`;
      return info(`${what} works again, after ${formatDuration(event.failedForMs)}`);
    }
    case "retained": {
      const rest = event.remaining === 0 ? "" : `; ${formatCount(event.remaining, "file")} follow`;
      return {
        level: "debug",
        text: `deleted ${formatCount(event.files, "file")}, ${formatBytes(event.bytes)}, that nobody can ask for any more${rest}`,
      };
    }
    case "retention-held":
      return warn(`nothing is deleted in the store: ${event.message}`);
    case "retention-resumed":
      return info("old files in the store are deleted again");
    case "deletes-ignored":
      return warn(
        `the store has said of ${formatCount(event.files, "file")} that they are deleted, and lists them still: ${event.key}. Look for versioning or a lock of the bucket; it grows, and so does its bill`,
      );
    case "files-vanished":
      return warn(
        `${formatCount(event.files, "file")} of the timeline are gone, and we have not deleted them: ${event.key}. Somebody else deletes here, or a rule of the bucket does; run verify`,
      );
    case "stalled":
      return warn(
        `stalled: ${describeStage(event.stage)}, and no error says why; ${formatBytes(event.bytes)} wait. If it goes on, start the stream again`,
      );
    case "stall-ended":
      return info(`${event.stage} gets on again, after ${formatDuration(event.stalledForMs)}`);
    case "source-checked":
      return event.complaint === undefined
        ? info(`the database is sound (integrity_check, ${formatDuration(event.durationMs)})`)
        : warn(
            `the DATABASE IS DAMAGED, and what is stored is an exact copy of it: ${event.complaint}. ${describeSound(event.lastSound)}`,
          );
    case "source-check-failing":
      return warn(
        `the database could not be looked through, which says nothing about it: ${event.message} (${event.code})`,
      );
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

/** What it means that the stage stands still. */
export function describeStage(stage: Stage): string {
  switch (stage) {
    case "capture":
      return "commits are made and not captured";
    case "upload":
      return "what is captured does not reach the store";
    case "maintenance":
      return "files in the store are not merged any more, nor old ones removed";
  }
}

/** To what a database that is damaged can be restored. */
export function describeSound(lastSound: SourceCheckStatus["lastSound"]): string {
  return lastSound === undefined
    ? "It was never found sound here: restore older and older moments until one is"
    : `It was sound at ${formatTime(lastSound.atMs)}, TXID ${formatTxid(lastSound.txid)} of timeline ${lastSound.timeline}, which is kept: restore that`;
}
