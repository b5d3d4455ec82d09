import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import type { BlobWriter, Clocks } from "./blob-writer.ts";
import { toFileEntry } from "./compare-tree.ts";
import {
  checkUnchanged,
  digestBytes,
  digestFile,
  FileUnreadError,
  readWhole,
  verifiedBody,
} from "./digest.ts";
import type { KnownFiles } from "./known-files.ts";
import type { FileEntry } from "./manifest.ts";
import type { FileSighting } from "./scan.ts";

/** @returns why the bytes may not be stored; undefined: they may. */
export type ContentCheck = (bytes: Uint8Array) => string | undefined;

export interface StoreFileDeps {
  readonly blobs: BlobWriter;
  readonly known: KnownFiles;
  readonly clocks: Clocks;
  readonly check: ContentCheck | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Read once and sent from memory; larger files are read once for their digest, and again to be sent. */
const wholeBytesMax = 1024 * 1024;
/** A check sees all of a file. */
const checkedBytesMax = 16 * 1024 * 1024;

/**
 * Stores one file's content as a blob.
 *
 * Durability point: when it resolves, the blob is in the store, with just the bytes that the entry says, and the file looked the same
 * from before they were read until after they were stored.
 *
 * @returns also whether it had to be sent.
 * @throws {FileUnreadError} @throws {ObjectStoreError} and the signal's reason.
 */
export async function storeFile(
  file: FileSighting,
  deps: StoreFileDeps,
): Promise<{ readonly entry: FileEntry; readonly isSent: boolean }> {
  const { blobs, check, signal } = deps;
  const { size } = file.identity;
  if (check !== undefined && size > checkedBytesMax) {
    throw new FileUnreadError("problem", `it is too large to be checked: ${size} bytes`);
  }
  let sha256: string;
  let isSent: boolean;
  if (size <= wholeBytesMax || check !== undefined) {
    const bytes = await rememberDigest(file, deps, async () => {
      const whole = await readWhole(file, signal);
      return { sha256: digestBytes(whole), whole };
    });
    const refusal = check?.(bytes.whole);
    if (refusal !== undefined) throw new FileUnreadError("waiting", refusal);
    sha256 = bytes.sha256;
    isSent = await put(file, () => blobs.put(sha256, bytes.whole, signal));
  } else {
    const read = async () => ({ sha256: await digestFile(file, signal) });
    sha256 = deps.known.certainDigest(file) ?? (await rememberDigest(file, deps, read)).sha256;
    let failure: FileUnreadError | undefined;
    const body = verifiedBody(file, sha256, (error) => {
      failure = error;
    });
    isSent = await put(file, () => blobs.put(sha256, body, signal)).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw failure ?? error;
    });
  }
  await checkUnchanged(file);
  return { entry: toFileEntry(file, sha256), isSent };
}

/** Reads a file and notes its digest, with the time at which the reading began. */
export async function rememberDigest<T extends { readonly sha256: string }>(
  file: FileSighting,
  { known, clocks }: Pick<StoreFileDeps, "known" | "clocks">,
  read: () => Promise<T>,
): Promise<T> {
  const readAt = clocks.now();
  const readMs = clocks.nowMs();
  const result = await read();
  known.setDigest(file, result.sha256, readAt, readMs);
  return result;
}

function put(file: FileSighting, request: () => Promise<boolean>): Promise<boolean> {
  return request().catch((error: unknown) => {
    // It is this one object that no store of this kind takes, for its size: others may go on.
    if (error instanceof ObjectStoreError && error.code === "INVALID_ARGUMENT") {
      const reason = `the store does not take it, with ${file.identity.size} bytes: ${error.message}`;
      throw new FileUnreadError("problem", reason, { cause: error });
    }
    throw error;
  });
}
