import type { PruneResult } from "@vaultwarden-stream/file-sync";
import type { StopResult } from "wal-replicator";
import { formatBytes, formatCount } from "wal-replicator/command-line";
import type { UnstoredFiles } from "../files/vault-files.ts";
import type { Logger } from "../logger.ts";

/** What of the database is not in the store at the end. */
export function describeUnstored({ waitingFiles }: StopResult): string {
  return waitingFiles === 0
    ? "everything is in the store, but the epoch could not be released: the next start may have to wait for it"
    : `not everything is in the store: ${formatCount(waitingFiles, "captured file")} wait beside the database for the next start on this machine`;
}

/** What of the files is not. */
export function describeUnstoredFiles({ paths, why }: NonNullable<UnstoredFiles>): string {
  if (paths.length === 0) {
    return `whether every file is in the store is not known: ${why}. The next start on this machine finds out`;
  }
  const more = paths.length > namedMax ? ` and ${paths.length - namedMax} more` : "";
  return `${formatCount(paths.length, "file")} of the vault are not in the store: ${why}. They lie here for the next start on this machine: ${paths.slice(0, namedMax).join(", ")}${more}`;
}

const namedMax = 20;

export function logPruned(result: PruneResult | { readonly error: unknown }, log: Logger): void {
  if ("error" in result) {
    log.warn(`old files could not be pruned: ${(result.error as Error).message}`);
    return;
  }
  const { manifestsDeleted, blobsDeleted, bytesDeleted, stopped } = result;
  if (stopped !== undefined) log.warn(`pruning stopped: ${stopped.message}`);
  if (manifestsDeleted + blobsDeleted === 0) return;
  log.info(
    `pruned ${formatCount(manifestsDeleted, "manifest")} and ${formatCount(blobsDeleted, "blob")} (${formatBytes(bytesDeleted)}) that no recovery point needs`,
  );
}
