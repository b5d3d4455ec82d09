import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { mergeLtx } from "../ltx/merge.ts";
import type { Txid } from "../ltx/txid.ts";
import {
  defaultSpoolMergePolicy,
  planSpoolMerge,
  type SpoolMergePolicy,
} from "./plan-spool-merge.ts";
import { yieldToEventLoop } from "./slices.ts";
import type { Spool, SpoolFile, SpoolWriter } from "./spool.ts";

/** Waiting files that became one. Their TXIDs behind `into` are free again, and `into` is the newest state. */
export interface SpoolMerge {
  readonly files: number;
  /** In bytes, before and after. */
  readonly bytesBefore: number;
  readonly bytes: number;
  readonly from: Txid;
  readonly to: Txid;
  /** The TXID of the merged file. */
  readonly into: Txid;
}

/**
 * Merges the newest files that wait, if it is time (`plan-spool-merge.ts`): the newest image of each page, under the lowest TXID.
 *
 * To be called between two passes, and none may begin before whoever numbers captures goes on behind `into`: a capture meanwhile would
 * leave a gap. The application and the uploads go on. Memory: one small piece of each file.
 *
 * @returns undefined if it is not time, or the signal was aborted: then everything is as it was.
 * @throws {FormatError} if a file is damaged: nothing was replaced.
 */
export async function mergeSpool(
  spool: Spool,
  signal: AbortSignal,
  policy: SpoolMergePolicy = defaultSpoolMergePolicy,
): Promise<SpoolMerge | undefined> {
  await spool.settled();
  const count = planSpoolMerge(spool.waiting, policy);
  if (count === 0 || signal.aborted) return undefined;
  const files = spool.waiting.slice(-count);
  let merged: SpoolFile;
  try {
    merged = await spool.merge(files, (writer) => writeMerged(files, writer, signal));
  } catch (error) {
    if (signal.aborted && error === signal.reason) return undefined;
    throw error;
  }
  const [oldest, newest] = [files[0] as SpoolFile, files.at(-1) as SpoolFile];
  return {
    files: count,
    bytesBefore: files.reduce((bytes, file) => bytes + file.size, 0),
    bytes: merged.size,
    from: oldest.name.minTxid,
    to: newest.name.maxTxid,
    into: merged.name.maxTxid,
  };
}

async function writeMerged(
  files: readonly SpoolFile[],
  writer: SpoolWriter,
  signal: AbortSignal,
): Promise<void> {
  const inputs = files.map(({ path, size, name: { minTxid, maxTxid } }) => {
    return { source: readPieces(path, size), size, range: { minTxid, maxTxid } };
  });
  const { name } = files[0] as SpoolFile;
  for await (const piece of mergeLtx(inputs, name.maxTxid)) {
    signal.throwIfAborted();
    await writer.write(piece);
    await yieldToEventLoop();
  }
}

/** Of compressed pages: hundreds of files are open at the same time, and between two pieces the event loop runs. */
const inputBytes = 1 << 15;

/** Reads a file that is an input of a merge. The pieces are small, and each is valid until the one after the next is asked for. */
export async function* readPieces(path: string, size: number): AsyncGenerator<Uint8Array> {
  if (size <= inputBytes) {
    yield readFileSync(path).subarray(0, size);
    return;
  }
  await using handle = await open(path);
  // Two in turn: the decoder reads on in the last piece until it has the next one.
  let next = new Uint8Array(inputBytes);
  let last = new Uint8Array(Math.min(size - inputBytes, inputBytes));
  for (let position = 0; position < size; ) {
    const { bytesRead } = await handle.read(next, 0, next.length, position);
    if (bytesRead === 0) return; // the decoder says that it is cut
    position += bytesRead;
    yield next.subarray(0, bytesRead);
    [next, last] = [last, next];
  }
}
