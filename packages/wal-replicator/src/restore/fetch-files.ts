import type { ObjectInfo, ObjectStore } from "@vaultwarden-stream/object-store";
import type { ReplicaFile } from "../replica/catalog.ts";

/** A piece of one file, whole in memory. The chunks belong to the receiver. */
export interface FetchedPart {
  /** Index into the files that were asked for. */
  readonly fileIndex: number;
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
  readonly isLastOfFile: boolean;
  readonly info: ObjectInfo;
}

/**
 * Fetches files in order, several requests at a time: large files in ranges, small ones whole, so that neither the store's latency
 * nor one connection's speed is the limit. In memory are at most `requestsMax` parts of `partBytes`, and the one that the receiver has.
 *
 * Stops all requests when it is left early.
 */
export async function* fetchFiles(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  signal?: AbortSignal,
  { partBytes = 2 << 20, requestsMax = 8 }: FetchLimits = {},
): AsyncGenerator<FetchedPart, void, undefined> {
  const left = new AbortController();
  const either = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  const parts = splitIntoParts(files, partBytes);
  const underWay: Promise<FetchedPart>[] = [];
  const startNext = (): void => {
    const next = parts.next();
    if (next.done === true) return;
    const fetching = fetchPart(store, files, next.value, either);
    fetching.catch(() => {}); // seen when its turn comes, or not at all after an earlier failure
    underWay.push(fetching);
  };
  try {
    for (let count = 0; count < requestsMax; count += 1) startNext();
    for (let part = underWay.shift(); part !== undefined; part = underWay.shift()) {
      const fetched = await part;
      startNext();
      yield fetched;
    }
  } finally {
    left.abort();
    await Promise.allSettled(underWay);
  }
}

export interface FetchLimits {
  readonly partBytes?: number;
  readonly requestsMax?: number;
}

interface PartRange {
  readonly fileIndex: number;
  readonly start: number;
  /** Undefined: the whole file in one request. */
  readonly length: number | undefined;
  readonly isLastOfFile: boolean;
}

function* splitIntoParts(files: readonly ReplicaFile[], partBytes: number): Generator<PartRange> {
  for (const [fileIndex, { size }] of files.entries()) {
    if (size <= partBytes) {
      yield { fileIndex, start: 0, length: undefined, isLastOfFile: true };
      continue;
    }
    for (let start = 0; start < size; start += partBytes) {
      const length = Math.min(partBytes, size - start);
      yield { fileIndex, start, length, isLastOfFile: start + length === size };
    }
  }
}

async function fetchPart(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  { fileIndex, start, length, isLastOfFile }: PartRange,
  signal: AbortSignal,
): Promise<FetchedPart> {
  const { key } = files[fileIndex] as ReplicaFile;
  const options = length === undefined ? { signal } : { signal, range: { start, length } };
  const reading = await store.get(key, options);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of reading.body) {
    chunks.push(chunk);
    bytes += chunk.length;
  }
  return { fileIndex, chunks, bytes, isLastOfFile, info: reading.info };
}
