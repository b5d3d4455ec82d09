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
  readonly signal?: AbortSignal;
  /** Blobs read at once. Default 8. */
  readonly parallel?: number;
  readonly onProgress?: (progress: { readonly blobs: number; readonly total: number }) => void;
}

export interface VerifyResult {
  /** Blobs that were looked at: each once, however many files have its bytes. */
  readonly blobs: number;
  /** What they have together, by the manifests. */
  readonly bytes: number;
  readonly bad: readonly {
    readonly sha256: string;
    /** One of the files that need it. */
    readonly path: string;
    readonly why: "missing" | "wrong-size" | "wrong-bytes";
  }[];
}

/**
 * Compares the blobs that entries name with what the store has: one listing, then, if asked for, one GET for each.
 *
 * @throws {RangeError} for a subset that is none. @throws {ObjectStoreError} if the store fails: that proves nothing about a blob.
 */
export async function verifyBlobs(options: VerifyOptions): Promise<VerifyResult> {
  const { store, readData, signal, parallel = 8, onProgress } = options;
  const named = chooseBlobs(options);
  const sizes = await listSizes(store, named, signal);
  const bad: VerifyResult["bad"][number][] = [];
  let blobs = 0;
  await runParallel(named.values(), parallel, signal, async (file, either) => {
    const why = await check(store, file, sizes.get(file.sha256), readData, either);
    if (why !== undefined) bad.push({ sha256: file.sha256, path: file.path, why });
    blobs += 1;
    onProgress?.({ blobs, total: named.size });
  });
  let bytes = 0;
  for (const { size } of named.values()) bytes += size;
  return { blobs: named.size, bytes, bad: bad.toSorted((a, b) => (a.path < b.path ? -1 : 1)) };
}

/** By content; two sizes for one digest, which only a liar writes, are two. */
function chooseBlobs({ entries, subset }: VerifyOptions): Map<string, FileEntry> {
  const { n, of } = subset ?? { n: 1, of: 1 };
  if (!Number.isSafeInteger(of) || !Number.isSafeInteger(n) || n < 1 || n > of) {
    throw new RangeError(`a subset is 1/1 and up, not ${n}/${of}`);
  }
  const chosen = new Map<string, FileEntry>();
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    if (Number.parseInt(entry.sha256.slice(0, 12), 16) % of !== n - 1) continue;
    const content = `${entry.sha256}:${entry.size}`;
    if (!chosen.has(content)) chosen.set(content, entry);
  }
  return chosen;
}

async function listSizes(
  store: ObjectStore,
  named: ReadonlyMap<string, FileEntry>,
  signal: AbortSignal | undefined,
): Promise<Map<string, number>> {
  const wanted = new Set([...named.values()].map(({ sha256 }) => sha256));
  const sizes = new Map<string, number>();
  for await (const page of store.list(blobPrefix, signal === undefined ? {} : { signal })) {
    for (const { key, size } of page) {
      const sha256 = digestOfBlobKey(key);
      if (sha256 !== undefined && wanted.has(sha256)) sizes.set(sha256, size);
    }
  }
  return sizes;
}

async function check(
  store: ObjectStore,
  file: FileEntry,
  listed: number | undefined,
  readData: boolean,
  signal: AbortSignal,
): Promise<"missing" | "wrong-size" | "wrong-bytes" | undefined> {
  // That a listing lacks it is no proof: only the store's answer to its name is.
  const size = listed ?? (await sizeOf(store, blobKey(file.sha256), signal));
  if (size === undefined) return "missing";
  if (size !== file.size) return "wrong-size";
  if (!readData) return undefined;
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
