import type { BigIntStats } from "node:fs";
import { lstat } from "node:fs/promises";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import { blobKey } from "./blob-key.ts";
import { identityOf } from "./change-test.ts";
import { digestFile, FileUnreadError, verifiedBody } from "./digest.ts";
import { isBadBlob, readBlob } from "./read-blob.ts";
import { rootNameOf, safePath } from "./safe-path.ts";
import { errnoOf, explain, type FileSighting } from "./scan.ts";
import type { SyncRoot } from "./sync-root.ts";

/** A blob that was found missing or with other bytes. */
export interface RepairableBlob {
  readonly sha256: string;
  readonly size: number;
  /** Where the file is, if it still is: names as in a manifest. */
  readonly paths: readonly string[];
}

export interface RepairResult {
  /** Stored again. */
  readonly repaired: readonly { readonly sha256: string; readonly path: string }[];
  readonly left: readonly { readonly sha256: string; readonly why: string }[];
}

/**
 * Stores blobs again whose file is still here with the same bytes. Each is looked at once more before, and a good one is left alone.
 *
 * Durability point: when it resolves, what it names as repaired is in the store.
 *
 * @throws errors of the store as they are. What was repaired until then stays.
 */
export async function repairBlobs(options: {
  readonly store: ObjectStore;
  readonly blobs: readonly RepairableBlob[];
  readonly roots: readonly SyncRoot[];
  readonly signal?: AbortSignal;
}): Promise<RepairResult> {
  const { store, blobs, roots, signal } = options;
  const repaired: RepairResult["repaired"][number][] = [];
  const left: RepairResult["left"][number][] = [];
  for (const blob of blobs) {
    signal?.throwIfAborted();
    const { sha256 } = blob;
    if (!(await isBad(store, blob, signal))) continue;
    const found = await findFile(blob, roots, signal);
    if ("why" in found) left.push({ sha256, why: found.why });
    else {
      const body = verifiedBody(found.file, sha256, () => {});
      await store.put(blobKey(sha256), body, signal === undefined ? {} : { signal });
      repaired.push({ sha256, path: found.file.path });
    }
  }
  return { repaired, left };
}

async function isBad(
  store: ObjectStore,
  blob: RepairableBlob,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    for await (const _ of readBlob(store, blob, signal === undefined ? {} : { signal }));
    return false;
  } catch (error) {
    if (isBadBlob(error)) return true;
    throw error;
  }
}

async function findFile(
  { paths, sha256, size }: RepairableBlob,
  roots: readonly SyncRoot[],
  signal: AbortSignal | undefined,
): Promise<{ readonly file: FileSighting } | { readonly why: string }> {
  const reasons: string[] = [];
  for (const path of paths) {
    const root = roots.find(({ name }) => name === rootNameOf(path));
    if (root === undefined) {
      reasons.push(`${path} is of no directory that is kept here`);
      continue;
    }
    const location = safePath(root.path, path);
    const file = await sight(path, location);
    if (typeof file === "string") reasons.push(`${location} ${file}`);
    else if (file.identity.size !== size || (await digest(file, signal)) !== sha256) {
      reasons.push(`${location} has other bytes by now`);
    } else return { file };
  }
  return { why: reasons.join("; ") };
}

/** @returns why it cannot be read, as the rest of a sentence. */
async function sight(path: string, location: string): Promise<FileSighting | string> {
  let stats: BigIntStats;
  try {
    stats = await lstat(location, { bigint: true });
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? "is not there any more" : explain(error);
  }
  if (!stats.isFile()) return "is no file";
  const mode = Number(stats.mode & 0o7777n);
  return { kind: "file", path, location, mode, identity: identityOf(stats) };
}

/** @returns undefined for a file that changes meanwhile, or cannot be read. */
async function digest(
  file: FileSighting,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return await digestFile(file, signal);
  } catch (error) {
    if (error instanceof FileUnreadError) return undefined;
    throw error;
  }
}
