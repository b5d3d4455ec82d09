import type { FileHandle } from "node:fs/promises";
import { bodySize, readBody } from "./body.ts";
import { explainFileError } from "./directory-errors.ts";
import { ObjectStoreError } from "./errors.ts";
import type { ObjectBody } from "./object-store.ts";
import type { ByteSpan } from "./request-checks.ts";

const readChunkBytes = 512 * 1024;
/** Smaller chunks of a streamed body are gathered to this size: each write is a trip to the thread pool. */
const writeChunkBytes = 256 * 1024;

/**
 * Writes a body at the file's position. Nothing is synced.
 *
 * @param fail - throws what an error of the file means; errors of the body pass unwrapped.
 */
export async function writeBody(
  file: FileHandle,
  operation: string,
  key: string,
  body: ObjectBody,
  signal: AbortSignal | undefined,
  fail: (error: unknown) => never,
): Promise<void> {
  let gathered: Uint8Array | undefined;
  let gatheredSize = 0;
  const flush = async (): Promise<void> => {
    if (gathered !== undefined)
      await writeAll(file, gathered.subarray(0, gatheredSize)).catch(fail);
    gatheredSize = 0;
  };
  for await (const chunk of readBody(operation, key, body, signal)) {
    signal?.throwIfAborted();
    if (gatheredSize + chunk.length > writeChunkBytes) await flush();
    if (body instanceof Uint8Array || chunk.length >= writeChunkBytes) {
      await writeAll(file, chunk).catch(fail);
    } else {
      gathered ??= new Uint8Array(Math.min(writeChunkBytes, bodySize(body)));
      gathered.set(chunk, gatheredSize);
      gatheredSize += chunk.length;
    }
  }
  await flush();
}

/** Writes at the file's position: one write(2) may take less than it is given. */
export async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    offset += (await file.write(bytes, offset)).bytesWritten;
  }
}

/** Yields the bytes of the span, and closes the file at its end. @throws {ObjectStoreError} `BODY_MISMATCH` if the file is shorter. */
export async function* readSpan(
  file: FileHandle,
  key: string,
  span: ByteSpan,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for (let position = span.start; position < span.end; ) {
      signal?.throwIfAborted();
      const length = Math.min(readChunkBytes, span.end - position);
      // A buffer of its own, for the caller to keep; not cleared, since it is cut to what was read.
      const buffer = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
      const { bytesRead } = await file.read(buffer, 0, length, position).catch((error: unknown) => {
        throw explainFileError(error, "get", key);
      });
      if (bytesRead === 0) {
        throw new ObjectStoreError("BODY_MISMATCH", `the file ends at byte ${position}`, {
          operation: "get",
          key,
          hint: "Something else than this store changes files in its directory.",
        });
      }
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
