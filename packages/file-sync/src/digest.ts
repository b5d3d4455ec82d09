/**
 * Reading a file that others may write to. A descriptor that follows no link is compared with what the look saw, before and after
 * its bytes are read: bytes of a file that changed meanwhile never count.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, open } from "node:fs/promises";
import type { ObjectBody } from "@vaultwarden-stream/object-store";
import { identityOf, isSameIdentity } from "./change-test.ts";
import { errnoOf, explain, type FileSighting } from "./scan.ts";

const chunkBytes = 512 * 1024;
/** A fifo that took the file's place must not keep us waiting for a writer. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const changingReason = "it is being written";

/** The file is not what the look saw any more (`waiting`), or cannot be read (`problem`). */
export class FileUnreadError extends Error {
  override readonly name = "FileUnreadError";
  readonly kind: "waiting" | "problem";

  constructor(
    kind: "waiting" | "problem",
    reason: string,
    options: { readonly cause?: unknown } = {},
  ) {
    super(reason, options);
    this.kind = kind;
  }
}

/** @returns the SHA-256 of its bytes. @throws {FileUnreadError} */
export async function digestFile(
  file: FileSighting,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of readUnchanged(file, signal)) hash.update(chunk);
  return hash.digest("hex");
}

export function digestBytes(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** All its bytes, for small files. @throws {FileUnreadError} */
export async function readWhole(
  file: FileSighting,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(file.identity.size);
  let position = 0;
  for await (const chunk of readUnchanged(file, signal)) {
    bytes.set(chunk, position);
    position += chunk.length;
  }
  return bytes;
}

/**
 * A body to store under the digest. Its last bytes are handed out only once all of them have it, so no store can have completed an
 * object of other bytes. Opened again, it is read again.
 *
 * @param onChange - told before the body fails with a `FileUnreadError`, which a store may pass on in words of its own.
 */
export function verifiedBody(
  file: FileSighting,
  sha256: string,
  onChange: (error: FileUnreadError) => void,
): ObjectBody {
  const { size } = file.identity;
  return {
    size,
    open: async function* () {
      const hash = createHash("sha256");
      let position = 0;
      try {
        for await (const chunk of readUnchanged(file, undefined)) {
          hash.update(chunk);
          position += chunk.length;
          if (position === size && hash.digest("hex") !== sha256) {
            throw new FileUnreadError("waiting", changingReason);
          }
          yield chunk;
        }
      } catch (error) {
        if (error instanceof FileUnreadError) onChange(error);
        throw error;
      }
    },
  };
}

/** @throws {FileUnreadError} unless the file looks as the look saw it. */
export async function checkUnchanged(file: FileSighting): Promise<void> {
  const stats = await lstat(file.location, { bigint: true }).catch(failRead);
  if (!stats.isFile() || !isSameIdentity(identityOf(stats), file.identity)) {
    throw new FileUnreadError("waiting", changingReason);
  }
}

/** Yields exactly the bytes that the look saw; the last of them only after the file was found unchanged. The buffer is used again. */
async function* readUnchanged(
  file: FileSighting,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = file.identity;
  await using handle = await open(file.location, openFlags).catch(failRead);
  await checkHandle(handle, file);
  const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, size));
  for (let position = 0; position < size; ) {
    signal?.throwIfAborted();
    const length = Math.min(buffer.length, size - position);
    const { bytesRead } = await handle.read(buffer, 0, length, position).catch(failRead);
    if (bytesRead === 0) throw new FileUnreadError("waiting", changingReason);
    position += bytesRead;
    if (position === size) await checkHandle(handle, file);
    yield buffer.subarray(0, bytesRead);
  }
}

async function checkHandle(handle: FileHandle, { identity }: FileSighting): Promise<void> {
  const stats = await handle.stat({ bigint: true }).catch(failRead);
  if (!stats.isFile() || !isSameIdentity(identityOf(stats), identity)) {
    throw new FileUnreadError("waiting", changingReason);
  }
}

function failRead(error: unknown): never {
  // Gone, or replaced by a link or a directory on the way: the next look tells.
  const isGone = ["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "");
  if (isGone) throw new FileUnreadError("waiting", "it is being replaced", { cause: error });
  throw new FileUnreadError("problem", explain(error), { cause: error });
}
