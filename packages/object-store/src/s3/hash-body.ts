import { createHash } from "node:crypto";
import { bodySize, readBody } from "../body.ts";
import type { ObjectBody } from "../object-store.ts";

/** A body whose SHA-256 is known before it is sent, since it is a part of what is signed. */
export interface HashedBody {
  readonly size: number;
  /** 64 hex digits. */
  readonly sha256: string;
  /** All of it, if it is in memory. */
  readonly bytes: Uint8Array | undefined;
  /** Opens it again; the chunks are lent until the next is asked for. */
  open(): AsyncIterable<Uint8Array>;
}

/** Streams of up to this size are read once and kept; larger ones are read twice, in constant memory. */
const keptBodyBytesMax = 64 * 1024;

/**
 * Reads a body for its hash, and thereby checks its length before anything is sent.
 *
 * @throws as `readBody`.
 */
export async function hashBody(
  operation: string,
  key: string,
  body: ObjectBody,
  signal: AbortSignal | undefined,
): Promise<HashedBody> {
  if (body instanceof Uint8Array) return hashBytes(body);
  const size = bodySize(body);
  const kept = size <= keptBodyBytesMax ? new Uint8Array(size) : undefined;
  const hash = createHash("sha256");
  let position = 0;
  for await (const chunk of readBody(operation, key, body, signal, "hash")) {
    hash.update(chunk);
    kept?.set(chunk, position);
    position += chunk.length;
  }
  return {
    size,
    sha256: hash.digest("hex"),
    bytes: kept,
    open: () => readBody(operation, key, body, signal),
  };
}

export function hashBytes(bytes: Uint8Array): HashedBody {
  return {
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    bytes,
    open: async function* () {
      yield bytes;
    },
  };
}
