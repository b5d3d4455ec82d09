import type { FollowEvent } from "../follow/follow-events.ts";
import { formatTxid, type Txid } from "../ltx/txid.ts";
import type { EventLine } from "./describe-event.ts";
import { formatBytes, formatCount, formatDuration, formatTime } from "./format.ts";

/** An event of a follower in words, for a log or a terminal. */
export function describeFollowEvent(event: FollowEvent): EventLine {
  switch (event.type) {
    case "copy-opened":
      return info(`goes on from ${where(event)}`);
    case "copy-restoring":
      return event.reason === "no-copy"
        ? info(`restoring: ${event.message}`)
        : warn(
            `the copy is restored anew: ${event.message}. Readers keep what it holds until then`,
          );
    case "copy-restored":
      return info(`restored ${where(event)}, ${formatBytes(event.bytes)}`);
    case "applied":
      return info(
        `applied ${where(event)}, the state of ${formatTime(event.at)}: ${formatCount(event.pageCount, "page")} from ${formatCount(event.fileCount, "file")}`,
      );
    case "timeline-changed":
      return info(
        `another writer goes on: timeline ${event.to}, from TXID ${formatTxid(event.txid)} of ${event.from} on`,
      );
    case "copy-blocked":
      return warn(
        `readers have held the copy for ${formatDuration(event.forMs)}, and it cannot be changed: a transaction that is left open?`,
      );
    case "follow-failing":
      return warn(
        `the copy cannot be brought on: ${event.message} (${event.code}); trying again${event.hint === undefined ? "" : `. ${event.hint}`}`,
      );
    case "follow-recovered":
      return info(`the copy is brought on again, after ${formatDuration(event.failedForMs)}`);
    case "follow-stalled":
      return warn(
        `nothing has shown for ${formatDuration(event.lagMs)} that the copy is as new as the replica`,
      );
  }
}

function where({ timeline, txid }: { readonly timeline: string; readonly txid: Txid }): string {
  return `${timeline === "" ? "" : `timeline ${timeline}, `}TXID ${formatTxid(txid)}`;
}

function info(text: string): EventLine {
  return { level: "info", text };
}

function warn(text: string): EventLine {
  return { level: "warn", text };
}
