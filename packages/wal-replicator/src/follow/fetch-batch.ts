import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import type { ObjectInfo, ObjectReading, ObjectStore } from "@vaultwarden-stream/object-store";
import { FormatError, invariant } from "../errors.ts";
import { decodeLtx } from "../ltx/decode-ltx.ts";
import type { LtxFileVerdict } from "../ltx/decoder.ts";
import type { LtxHeader } from "../ltx/header.ts";
import { lockPgno } from "../ltx/lock-page.ts";
import { mergeLtx } from "../ltx/merge.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { recordedRollingChecksum } from "../replica/replica.ts";
import { fetchFiles } from "../restore/fetch-files.ts";
import { FileDamaged } from "../restore/part-applier.ts";
import { coded } from "../restore/restore-file.ts";
import { PageChecksumChanges } from "../ship/page-checksums.ts";
import type { CopyPlace } from "./copy-place.ts";
import type { CopyPage } from "./copy-transaction.ts";

/** Files that follow each other, fetched, verified and merged: what they do to a database, page by page. Disposing of it removes them here. */
export interface Batch extends AsyncDisposable {
  readonly files: readonly ReplicaFile[];
  readonly header: LtxHeader;
  readonly changes: PageChecksumChanges;
  /** Page 1, if it is among them. */
  readonly page1: Uint8Array | undefined;
  /** What the replica has for the database after them, 16 hex digits; undefined: nothing. */
  readonly recordedChecksum: string | undefined;
  /** Reads the pages again, verified again, ascending. */
  pages(): AsyncIterable<CopyPage>;
}

/** Fetches files into the follower's directory and merges them there. @throws {FileDamaged} and errors of the store. */
export async function fetchBatch(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  place: CopyPlace,
  signal: AbortSignal,
): Promise<Batch> {
  return await coded(place.path, async () => {
    let newest: ObjectInfo | undefined;
    let handle: FileHandle | undefined;
    try {
      for await (const part of fetchFiles(store, files, signal)) {
        handle ??= await open(place.batchFile(part.fileIndex), "w", 0o600);
        for (const chunk of part.chunks) await handle.writeFile(chunk);
        if (!part.isLastOfFile) continue;
        newest = part.info;
        await handle.close();
        handle = undefined;
      }
    } finally {
      await handle?.close();
    }
    invariant(newest !== undefined, "a batch has a file");
    return await readBatch(files, newest, place);
  });
}

/** As `fetchBatch`, of one file whose reading has begun. */
export async function receiveBatch(
  { info, body }: ObjectReading,
  file: ReplicaFile,
  place: CopyPlace,
): Promise<Batch> {
  return await coded(place.path, async () => {
    {
      await using handle = await open(place.batchFile(0), "w", 0o600);
      for await (const chunk of body) await handle.writeFile(chunk);
    }
    return await readBatch([file], info, place);
  });
}

async function readBatch(
  files: readonly ReplicaFile[],
  newest: ObjectInfo,
  place: CopyPlace,
): Promise<Batch> {
  try {
    return await decodeBatch(files, newest, place);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw (await findDamaged(files, place)) ?? new FileDamaged(files.at(-1) as ReplicaFile, error);
  }
}

async function decodeBatch(
  files: readonly ReplicaFile[],
  newest: ObjectInfo,
  place: CopyPlace,
): Promise<Batch> {
  const [first, last] = [files[0] as ReplicaFile, files.at(-1) as ReplicaFile];
  const path = place.batchFile(files.length === 1 ? 0 : "merged");
  if (files.length > 1) await merge(files, place);
  const options = { range: { minTxid: first.minTxid, maxTxid: last.maxTxid } };
  let changes = new PageChecksumChanges(0);
  let page1: Uint8Array | undefined;
  const onHeader = ({ commit }: LtxHeader): void => {
    changes = new PageChecksumChanges(commit);
  };
  const reading = decodeLtx(createReadStream(path), { ...options, onHeader });
  let step = await reading.next();
  for (; step.done !== true; step = await reading.next()) {
    for (const { pgno, data, low, high } of step.value) {
      changes.add(pgno, low, high);
      if (pgno === 1) page1 = new Uint8Array(data);
    }
  }
  return {
    files,
    header: step.value.header,
    changes,
    page1,
    recordedChecksum: checksumAfter(newest, step.value),
    async *pages() {
      for await (const batch of decodeLtx(createReadStream(path), options)) yield* batch;
    },
    async [Symbol.asyncDispose]() {
      for (const index of [...files.keys(), "merged"] as const) {
        await rm(place.batchFile(index), { force: true });
      }
    },
  };
}

/** Ours lies beside the file; Litestream can be told to carry it in the file. */
function checksumAfter(
  info: ObjectInfo,
  { postApplyChecksum }: LtxFileVerdict,
): string | undefined {
  const recorded = recordedRollingChecksum(info);
  if (recorded !== undefined || postApplyChecksum === 0n) return recorded;
  return postApplyChecksum.toString(16).padStart(16, "0");
}

async function merge(files: readonly ReplicaFile[], place: CopyPlace): Promise<void> {
  const inputs = files.map((range, index) => ({
    source: createReadStream(place.batchFile(index)),
    range,
  }));
  await using handle = await open(place.batchFile("merged"), "w", 0o600);
  for await (const piece of mergeLtx(inputs)) await handle.writeFile(piece);
}

/** Which of them is not what its name and its checksum say; undefined: each is whole, and they do not belong together. */
async function findDamaged(
  files: readonly ReplicaFile[],
  place: CopyPlace,
): Promise<FileDamaged | undefined> {
  for (const [index, file] of files.entries()) {
    try {
      const reading = decodeLtx(createReadStream(place.batchFile(index)), { range: file });
      while ((await reading.next()).done !== true);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return new FileDamaged(file, error);
    }
  }
  return undefined;
}

/**
 * Whether a batch holds every page by which the database grows: a number in a header alone must not make the copy larger. The lock page
 * is in no file.
 */
export function growsWhole(
  { changes }: Pick<Batch, "changes">,
  pageCount: number,
  pageSize: number,
): boolean {
  const lock = lockPgno(pageSize);
  const hasLock = lock > pageCount && lock <= changes.pageCount;
  let grown = Math.max(0, changes.pageCount - pageCount) - (hasLock ? 1 : 0);
  for (let index = changes.count - 1; index >= 0; index -= 1) {
    if ((changes.entries[index * 3] as number) <= pageCount) break;
    grown -= 1;
  }
  return grown === 0;
}
