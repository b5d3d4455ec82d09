import { type FileSyncEvent, manifestKey } from "@vaultwarden-stream/file-sync";
import { formatBytes, formatCount, formatDuration } from "wal-replicator/command-line";
import type { LogFields, LogLevel } from "../logger.ts";

/** A line of the log for what happens to the vault's files. */
export function describeFileEvent(event: FileSyncEvent): {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
} {
  const { type } = event;
  switch (type) {
    case "pushed": {
      const { manifest, added, changed, removed, blobs, bytes } = event;
      return {
        level: "info",
        message: `files stored: ${added} added, ${changed} changed, ${removed} removed; ${formatCount(blobs, "blob")}, ${formatBytes(bytes)}`,
        fields: { type, manifest: manifestKey(manifest), added, changed, removed, blobs, bytes },
      };
    }
    case "noted":
    case "cleared": {
      const { kind, path, reason } = event.note;
      const isOver = type === "cleared";
      const level = kind === "waiting" ? "debug" : isOver ? "info" : "warn";
      const message = `${path}: ${isOver ? "no longer " : ""}${noteWords[kind]}: ${reason}`;
      return { level, message, fields: { type, kind, path, reason } };
    }
    case "failing":
      return {
        level: "error",
        message: `the vault's files cannot be stored: ${describe(event.error)}. The vault goes on${event.retryMs === 0 ? "" : `; trying again in ${formatDuration(event.retryMs)}`}`,
        fields: { type, ...codeOf(event.error), retryMs: event.retryMs },
      };
    case "recovered":
      return { level: "info", message: "the vault's files are stored again", fields: { type } };
    case "pointer-failing":
      return {
        level: "warn",
        message: `files/current.json is behind, and written with the next look: ${describe(event.error)}`,
        fields: { type, ...codeOf(event.error) },
      };
    case "cache-failing":
      return {
        level: "warn",
        message: `what was read of the files cannot be remembered, so the next start reads them again: ${describe(event.error)}`,
        fields: { type, ...codeOf(event.error) },
      };
    case "watch-failing":
      return {
        level: "warn",
        message: `changes of files cannot be watched, and are found by looking every PRIMARY_SYNC_INTERVAL: ${describe(event.error)}`,
        fields: { type, ...codeOf(event.error) },
      };
  }
}

const noteWords = {
  waiting: "waiting to be stored",
  held: "kept in the store as it was",
  problem: "cannot be stored",
} as const;

function describe(error: unknown): string {
  const { message, hint } = error as { message?: unknown; hint?: unknown };
  return typeof hint === "string" ? `${String(message)}. ${hint}` : String(message ?? error);
}

function codeOf(error: unknown): { readonly code?: string } {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? { code } : {};
}
