import { isNotFound, type ObjectStore } from "@vaultwarden-stream/object-store";
import { blobKey, blobPrefix, digestOfBlobKey } from "./blob-key.ts";
import type { FileEntry, ManifestEntry } from "./manifest.ts";
import { isBadBlob, readBlob } from "./read-blob.ts";
import { runParallel } from "./run-parallel.ts";

export interface VerifyOptions {
  readonly store: ObjectStore;
  /** Of one manifest or several. */
  readonly entries: Iterable<ManifestEntry>;
  /** Only the `n`th (from 1) of `of` parts. The part is chosen by the digest, so `of` runs look at all, whatever comes and goes meanwhile. */
  readonly subset?: { readonly n: number; readonly of: number };
  /** Reads every byte and compares its SHA-256; else what the listing says of presence and size is believed. */
  readonly readData: boolean;
  /** Asked before each blob is read, but the first: whether there is time for it. Presence and size are looked at in any case. */
  readonly hasTime?: () => boolean;
  /** Where an earlier run stopped (`stoppedAt`): reading begins there, and comes round to what is before it. */
  readonly startAt?: string;
  readonly signal?: AbortSignal;
  /** Blobs read at once. Default 8. */
  readonly parallel?: number;
  readonly onProgress?: (progress: { readonly blobs: number; readonly total: number }) => void;
}

export interface VerifyResult {
  /** Blobs that were looked at: each once, however many files has its bytes. */
  readonly blobs: number;
  /** What they have together, by the manifests. */
  readonly bytes: number;
  /** Those whose bytes were read, and their bytes. */
  readonly blobsRead: number;
  readonly bytesRead: number;
  /** Where reading stopped because the time was over, 64 hex digits; null: it did not stop. */
  readonly stoppedAt: string | null;
  /** Blobs in the store that no entry names: on their way to a manifest, or to be pruned. */
  readonly unnamed: number;
  readonly bad: readonly BadBlob[];
}

export interface BadBlob {
  readonly sha256: string;
  /** One of the files that need it, and what it has to have. */
  readonly path: string;
  readonly size: number;
  readonly why: "missing" | "wrong-size" | "wrong-bytes";
}

/**
 * Compares the blobs that entries name with what the store has: one listing, then, if asked for, one GET for each.
 *
 * @throws {RangeError} for a subset that is none. @throws {ObjectStoreError} if the store fails: that proves nothing about a blob.
 */
export async function verifyBlobs(options: VerifyOptions): Promise<VerifyResult> {
  const { store, readData, hasTime = () => true, startAt, signal, parallel = 8 } = options;
  const { chosen, named } = chooseBlobs(options);
  const { sizes, unnamed } = await listSizes(store, named, signal);
  const bad: BadBlob[] = [];
  const readable: FileEntry[] = [];
  await runParallel(chosen, parallel, signal, async (file, either) => {
    // That a listing lacks it is no proof: only the store's answer to its name is.
    const size = sizes.get(file.sha256) ?? (await sizeOf(store, blobKey(file.sha256), either));
    if (size === file.size) readable.push(file);
    else bad.push(badBlob(file, size === undefined ? "missing" : "wrong-size"));
  });

  const inOrder = rotate(
    readable.toSorted((a, b) => (a.sha256 < b.sha256 ? -1 : 1)),
    startAt,
  );
  let begun = 0;
  let done = 0;
  let bytesRead = 0;
  const next = function* (): Generator<FileEntry> {
    // What takes longer than the limit all alone gets read too, or no run would ever come to the next.
    while (readData && begun < inOrder.length && (begun === 0 || hasTime())) {
      yield inOrder[begun++] as FileEntry;
    }
  };
  await runParallel(next(), parallel, signal, async (file, either) => {
    const why = await read(store, file, either);
    if (why !== undefined) bad.push(badBlob(file, why));
    done += 1;
    bytesRead += file.size;
    options.onProgress?.({ blobs: done, total: inOrder.length });
  });
  const unread = readData ? inOrder[begun] : undefined;
  return {
    blobs: chosen.length,
    bytes: chosen.reduce((sum, { size }) => sum + size, 0),
    blobsRead: done,
    bytesRead,
    stoppedAt: unread?.sha256 ?? null,
    unnamed,
    bad: bad.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
  };
}

function badBlob({ sha256, path, size }: FileEntry, why: BadBlob["why"]): BadBlob {
  return { sha256, path, size, why };
}

/** Those from `startAt` on first. */
function rotate(ascending: readonly FileEntry[], startAt: string | undefined): FileEntry[] {
  const before = ascending.filter(({ sha256 }) => startAt !== undefined && sha256 < startAt);
  return [...ascending.slice(before.length), ...before];
}

/** By content; two sizes for one digest, which only a liar writes, are two. */
function chooseBlobs({ entries, subset }: VerifyOptions): {
  readonly chosen: readonly FileEntry[];
  /** All digests, whatever is chosen. */
  readonly named: ReadonlySet<string>;
} {
  const { n, of } = subset ?? { n: 1, of: 1 };
  if (!Number.isSafeInteger(of) || !Number.isSafeInteger(n) || n < 1 || n > of) {
    throw new RangeError(`a subset is 1/1 and up, not ${n}/${of}`);
  }
  const chosen = new Map<string, FileEntry>();
  const named = new Set<string>();
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    named.add(entry.sha256);
    if (Number.parseInt(entry.sha256.slice(0, 12), 16) % of !== n - 1) continue;
    const content = `${entry.sha256}:${entry.size}`;
    if (!chosen.has(content)) chosen.set(content, entry);
  }
  return { chosen: [...chosen.values()], named };
}

async function listSizes(
  store: ObjectStore,
  named: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<{ readonly sizes: ReadonlyMap<string, number>; readonly unnamed: number }> {
  const sizes = new Map<string, number>();
  let unnamed = 0;
  for await (const page of store.list(blobPrefix, signal === undefined ? {} : { signal })) {
    for (const { key, size } of page) {
      const sha256 = digestOfBlobKey(key);
      if (sha256 === undefined) continue;
      if (named.has(sha256)) sizes.set(sha256, size);
      else unnamed += 1;
    }
  }
  return { sizes, unnamed };
}

/** @returns what is wrong with its bytes. */
async function read(
  store: ObjectStore,
  file: FileEntry,
  signal: AbortSignal,
): Promise<"missing" | "wrong-bytes" | undefined> {
  try {
    for await (const _ of readBlob(store, file, { signal }));
    return undefined;
  } catch (error) {
    if (!isBadBlob(error)) throw error;
    return isNotFound(error.cause) ? "missing" : "wrong-bytes";
  }
}

async function sizeOf(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    return (await store.head(key, { signal })).size;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
