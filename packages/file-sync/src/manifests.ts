import {
  isNotFound,
  type ObjectStore,
  openSealedJson,
  type RequestOptions,
  sealJson,
  sealProblem,
} from "@vaultwarden-stream/object-store";
import { FileSyncError } from "./errors.ts";
import { decodeManifest, encodeManifest, type Manifest, manifestBytesMax } from "./manifest.ts";
import {
  compareManifests,
  type ManifestRef,
  manifestKey,
  manifestPrefix,
  parseManifestKey,
  pointerKey,
} from "./manifest-key.ts";

/**
 * @param timeline - only this one's; else those of all.
 * @returns what is there, by timeline, and oldest first within each. Objects that are not manifests are passed over.
 */
export async function listManifests(
  store: ObjectStore,
  { timeline, ...options }: RequestOptions & { readonly timeline?: string } = {},
): Promise<ManifestRef[]> {
  const prefix = timeline === undefined ? manifestPrefix : `${manifestPrefix}${timeline}/`;
  const found: ManifestRef[] = [];
  for await (const page of store.list(prefix, options)) {
    for (const { key } of page) {
      const ref = parseManifestKey(key);
      if (ref !== undefined) found.push(ref);
    }
  }
  return found.toSorted((a, b) =>
    a.timeline === b.timeline ? compareManifests(a, b) : a.timeline < b.timeline ? -1 : 1,
  );
}

/** @throws {FileSyncError} `MANIFEST_INVALID`. @throws {ObjectStoreError} `NOT_FOUND` if it has been pruned meanwhile. */
export async function readManifest(
  store: ObjectStore,
  ref: ManifestRef,
  options: RequestOptions = {},
): Promise<Manifest> {
  const key = manifestKey(ref);
  return decodeManifest(key, await readSmall(store, key, manifestBytesMax, options));
}

async function readSmall(
  store: ObjectStore,
  key: string,
  bytesMax: number,
  options: RequestOptions,
): Promise<Uint8Array> {
  const { body } = await store.get(key, options);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bytesMax) {
      throw new FileSyncError(
        "MANIFEST_INVALID",
        `${key} has more than ${bytesMax} bytes: none of ours has`,
        "Restore from another moment; nothing was changed.",
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Durability point: when it resolves, the manifest counts.
 *
 * @throws {FileSyncError} `MANIFEST_TAKEN` if there is another one under its key.
 */
export async function writeManifest(
  store: ObjectStore,
  manifest: Manifest,
  options: RequestOptions = {},
): Promise<void> {
  const key = manifestKey(manifest);
  const bytes = encodeManifest(manifest);
  if ((await store.putIfAbsent(key, bytes, options)) === "created") return;
  // An answer that was lost, and the second try: then these are our own bytes.
  const stored = encodeManifest(await readManifest(store, manifest, options));
  if (Buffer.compare(stored, bytes) === 0) return;
  throw new FileSyncError(
    "MANIFEST_TAKEN",
    `there is another manifest at ${key}: somebody else writes in this epoch`,
    "End the other writer; nothing of its was changed.",
  );
}

/** For who looks often: one small object that says which manifest is the newest. Listings are what counts. */
export async function writePointer(
  store: ObjectStore,
  ref: ManifestRef,
  options: RequestOptions = {},
): Promise<void> {
  const pointer = { version: 1, manifest: manifestKey(ref), time: ref.time };
  await store.put(pointerKey, sealJson(JSON.stringify(pointer)), options);
}

/**
 * @returns the manifest that the pointer names; undefined: there is no pointer.
 * @throws {FileSyncError} `MANIFEST_INVALID` if it is not what was written.
 */
export async function readPointer(
  store: ObjectStore,
  options: RequestOptions = {},
): Promise<ManifestRef | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readSmall(store, pointerKey, pointerBytesMax, options);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
  const named = decodePointer(bytes);
  if (named !== undefined) return named;
  throw new FileSyncError(
    "MANIFEST_INVALID",
    `${pointerKey} is not what was written there`,
    "The listing of manifests is what counts: it is written again with the next one.",
  );
}

const pointerBytesMax = 4096;
/** What it had before it was sealed. */
const unsealedFields = ["version", "manifest", "time"];

function decodePointer(bytes: Uint8Array): ManifestRef | undefined {
  try {
    const opened = openSealedJson(bytes);
    const { manifest } = Object(opened.value) as { manifest?: unknown };
    if (typeof manifest !== "string" || sealProblem(opened, unsealedFields) !== undefined) return;
    return parseManifestKey(manifest);
  } catch {
    return undefined; // not JSON
  }
}
