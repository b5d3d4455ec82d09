import type { ObjectInfo, RequestOptions } from "@vaultwarden-stream/object-store";
import {
  decodeEpochLease,
  decodeEpochRecord,
  decodeEpochRelease,
  type EpochLease,
  type EpochRecord,
  type EpochRelease,
  epochObjectBytesMax,
  malformedEpoch,
} from "./epoch-record.ts";
import type { ReplicaRoot } from "./replica.ts";
import { type EpochKeyParts, type EpochObject, formatEpochKey } from "./replica-layout.ts";

/**
 * The small objects below `epochs/`, each read by one GET. What cannot be read is an error and never "not there": a start, or a look
 * for the next epoch, must not decide on what it cannot read.
 */
export function epochObjectKey(root: ReplicaRoot, id: EpochKeyParts, object: EpochObject): string {
  return root.prefix + formatEpochKey(id, object);
}

/** Under which keys the lease and the release of an epoch lie. */
export function epochIdOf(record: EpochRecord): EpochKeyParts {
  const { epoch, nonce, keyedByNonce } = record;
  return { epoch, nonce: keyedByNonce === true ? nonce.slice(0, 8) : undefined };
}

/** @throws {ReplicaError} `REPLICA_MALFORMED` */
export async function readRecord(
  root: ReplicaRoot,
  id: EpochKeyParts,
  options: RequestOptions,
): Promise<EpochRecord> {
  const key = epochObjectKey(root, id, "record");
  return decodeEpochRecord((await readSmall(root, key, options)).bytes, id, key);
}

/** @throws {ReplicaError} `REPLICA_MALFORMED` */
export async function readRelease(
  root: ReplicaRoot,
  id: EpochKeyParts,
  options: RequestOptions,
): Promise<EpochRelease> {
  const key = epochObjectKey(root, id, "released");
  return decodeEpochRelease((await readSmall(root, key, options)).bytes, key);
}

/** @throws {ReplicaError} `REPLICA_MALFORMED` */
export async function readLeaseObject(
  root: ReplicaRoot,
  id: EpochKeyParts,
  options: RequestOptions,
): Promise<{ readonly lease: EpochLease; readonly info: ObjectInfo }> {
  const key = epochObjectKey(root, id, "lease");
  const { bytes, info } = await readSmall(root, key, options);
  return { lease: decodeEpochLease(bytes, key), info };
}

async function readSmall(
  root: ReplicaRoot,
  key: string,
  options: RequestOptions,
): Promise<{ readonly bytes: Uint8Array; readonly info: ObjectInfo }> {
  const { body, info } = await root.store.get(key, options);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > epochObjectBytesMax) {
      throw malformedEpoch(key, `it has more than ${epochObjectBytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  return { bytes: Buffer.concat(chunks), info };
}
