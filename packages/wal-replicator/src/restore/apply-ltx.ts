import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { ReplicaFile } from "../replica/catalog.ts";
import { startApplyThread } from "./apply-thread.ts";
import type { AppliedDatabase } from "./database-image.ts";
import { fetchFiles } from "./fetch-files.ts";
import { LocalApplier } from "./part-applier.ts";
import { coded, type RestoreFile } from "./restore-file.ts";

export interface ApplyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: {
    readonly bytesDone: number;
    readonly bytesTotal: number;
    readonly filesDone: number;
    readonly filesTotal: number;
  }) => void;
  /** From how many bytes of files on a thread of its own applies them, which costs about 20 MB of memory and 0.1 s of CPU. */
  readonly threadBytesMin?: number;
}

/**
 * Fetches LTX files and applies them to an empty database file, NEWEST FIRST: a page counts where it is met first, and every page
 * is written once. What an older file holds beyond the size that the database had since then was cut off, and is passed over, so
 * that a stale page never comes back after a shrink and a growth.
 *
 * Of a large database this thread only fetches, and another one does the rest: each is a second of CPU a gigabyte, or more.
 *
 * Nothing counts before it resolves: then every file was read to its end and its checksum verified, and every page of the last
 * commit is there. Memory: the parts on their way and 8 bytes a page. The file is not synced yet.
 *
 * @param files - oldest first, as planned.
 * @throws {FileDamaged}
 * @throws {ReplicaError} `CHAIN_BROKEN` if a page is in no file, `VERIFICATION_FAILED` if the rolling checksum is not the recorded one, `TARGET_UNWRITABLE`
 * @throws {ReplicationError} `HELPER_FAILED` if the thread ended without an error of its own
 */
export async function applyFiles(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  target: RestoreFile,
  { signal, onProgress, threadBytesMin = 64 << 20 }: ApplyOptions = {},
): Promise<AppliedDatabase & { readonly bytesRead: number }> {
  const newestFirst = files.toReversed();
  const bytesTotal = files.reduce((bytes, file) => bytes + file.size, 0);
  await coded(target.path, () => target.handle.truncate(0));
  const { path, temporaryPath } = target;
  await using applier =
    (bytesTotal >= threadBytesMin
      ? startApplyThread({ newestFirst, path, temporaryPath })
      : undefined) ?? new LocalApplier(newestFirst, target);
  let recorded: string | undefined;
  let bytesDone = 0;
  let filesDone = 0;
  for await (const { info, bytes, ...part } of fetchFiles(store, newestFirst, signal)) {
    if (part.fileIndex === 0) recorded = info.metadata?.["rolling-checksum"];
    await applier.apply(part);
    bytesDone += bytes;
    if (part.isLastOfFile) filesDone += 1;
    onProgress?.({ bytesDone, bytesTotal, filesDone, filesTotal: files.length });
  }
  return { ...(await applier.complete(recorded)), bytesRead: bytesDone };
}
