import { bodySize, readBody } from "../body.ts";
import type { ObjectBody } from "../object-store.ts";
import { hashBytes } from "./hash-body.ts";
import type { ProviderProfile } from "./provider-profiles.ts";
import type { S3Client, S3UploadedPart } from "./s3-client.ts";

/** Parts that are in memory at once. One part may be larger where the store or the size asks for it. */
const partsBytesMax = 64 * 1024 * 1024;
const partBytesUsual = 16 * 1024 * 1024;
/** S3's own limit. */
const partBytesMax = 5 * 1024 ** 3;

export interface UploadPlan {
  readonly partBytes: number;
  /** At least 1. Memory: so many parts, and the one that is being read. */
  readonly concurrency: number;
}

/** @returns undefined if the store cannot take an object of this size in parts. */
export function planUpload(
  size: number,
  profile: Pick<ProviderProfile, "partBytesMin" | "partCountMax" | "partConcurrencyMax">,
): UploadPlan | undefined {
  const { partBytesMin, partCountMax, partConcurrencyMax } = profile;
  const partBytes = Math.max(partBytesMin, partBytesUsual, Math.ceil(size / partCountMax));
  if (partCountMax < 2 || partBytes > partBytesMax) return undefined;
  const affordable = Math.floor(partsBytesMax / partBytes);
  return { partBytes, concurrency: Math.max(1, Math.min(partConcurrencyMax, affordable)) };
}

export interface UploadRequest {
  /** As the store names it. */
  readonly key: string;
  /** For the body's own errors. */
  readonly callerKey: string;
  readonly body: ObjectBody;
  readonly metadata: Readonly<Record<string, string>>;
  readonly plan: UploadPlan;
  readonly signal: AbortSignal | undefined;
}

/**
 * Stores a body in parts, each in memory and signed. Nothing is visible before the last request; an upload that fails or is aborted
 * is removed. A killed process leaves its parts behind, invisible and paid for: a lifecycle rule of the bucket removes these.
 *
 * @throws as the client's methods.
 */
export async function uploadInParts(client: S3Client, request: UploadRequest): Promise<void> {
  const { key, metadata, signal } = request;
  const uploadId = await client.createUpload(key, metadata, signal);
  try {
    const parts = await uploadParts(client, uploadId, request);
    await client.completeUpload(key, uploadId, parts, signal);
  } catch (error) {
    // The first failure is the one to tell. After a completion whose answer was lost there is nothing to remove.
    await client.abortUpload(key, uploadId).catch(() => undefined);
    throw error;
  }
}

async function uploadParts(
  client: S3Client,
  uploadId: string,
  { key, callerKey, body, plan, signal }: UploadRequest,
): Promise<readonly S3UploadedPart[]> {
  const failed = new AbortController();
  const anySignal = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const parts: Promise<S3UploadedPart>[] = [];
  const inFlight = new Set<Promise<S3UploadedPart>>();
  try {
    for await (const bytes of cutBody(callerKey, body, plan.partBytes, anySignal)) {
      while (inFlight.size >= plan.concurrency) await Promise.race(inFlight);
      const part = client
        .uploadPart(key, uploadId, parts.length + 1, hashBytes(bytes), anySignal)
        .finally(() => inFlight.delete(part));
      // It is awaited below, but perhaps not before it fails.
      part.catch(() => undefined);
      parts.push(part);
      inFlight.add(part);
    }
    return await Promise.all(parts);
  } catch (error) {
    // The other parts are of no use any more, and an upload is removed only when none is on its way to it.
    failed.abort(error);
    await Promise.allSettled(parts);
    throw error;
  }
}

/** The body in pieces of `partBytes`, the last one smaller; each is a buffer of its own. */
async function* cutBody(
  key: string,
  body: ObjectBody,
  partBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  let left = bodySize(body);
  let part = new Uint8Array(Math.min(partBytes, left));
  let filled = 0;
  for await (const chunk of readBody("put", key, body, signal)) {
    for (let offset = 0; offset < chunk.length; ) {
      const length = Math.min(part.length - filled, chunk.length - offset);
      part.set(chunk.subarray(offset, offset + length), filled);
      filled += length;
      offset += length;
      if (filled < part.length) continue;
      yield part;
      left -= filled;
      filled = 0;
      part = new Uint8Array(Math.min(partBytes, left));
    }
  }
}
