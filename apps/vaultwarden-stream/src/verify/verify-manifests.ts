import {
  BlobUses,
  compareManifests,
  FileSyncError,
  listManifests,
  type Manifest,
  type ManifestRef,
  manifestKey,
  parseManifestKey,
  pointerKey,
  readManifest,
  readPointer,
  type UseSpan,
} from "@vaultwarden-stream/file-sync";
import { isNotFound, type ObjectStore } from "@vaultwarden-stream/object-store";
import { type BadObject, badObject } from "./files-verification.ts";

export interface ManifestsSeen {
  /** As `listManifests` has them, without those that were pruned meanwhile. */
  readonly refs: readonly ManifestRef[];
  readonly uses: BlobUses;
  readonly bad: readonly BadObject[];
}

export interface ManifestsRequest {
  /** For how long each state is kept: within that time no manifest may be missing. */
  readonly finestKeepMs: number;
  readonly nowMs: number;
  /** Key of the newest manifest, as the daemon here knows it. */
  readonly newestKnown: string | null;
  readonly signal: AbortSignal;
}

/**
 * Reads all manifests that are kept, and the pointer, and misses those that others speak of.
 *
 * @throws errors of the store as they are.
 */
export async function verifyManifests(
  store: ObjectStore,
  request: ManifestsRequest,
): Promise<ManifestsSeen> {
  const { signal } = request;
  // Before the listing, which has to have what it names.
  const pointer = await readPointer(store, { signal }).catch((error: unknown) => {
    if (error instanceof FileSyncError) return error;
    throw error;
  });
  const listed = await listManifests(store, { signal });
  const uses = new BlobUses();
  const refs: ManifestRef[] = [];
  const damaged = new Map<string, string>();
  const previous = new Map<string, ManifestRef>();
  for (const ref of listed) {
    signal.throwIfAborted();
    const manifest = await read(store, ref, signal);
    if (manifest === undefined) continue;
    refs.push(ref);
    if (manifest instanceof FileSyncError) {
      damaged.set(manifestKey(ref), manifest.message);
      uses.add(ref, undefined);
    } else {
      uses.add(ref, manifest.entries);
      if (manifest.previous !== undefined) previous.set(manifest.previous, ref);
    }
  }
  const bad = [...damaged].map(([key, why]) => badObject(key, why, spanOf(refs, key)));
  bad.push(...findMissing(listed, previous, pointer, request));
  if (pointer instanceof FileSyncError) {
    bad.push(badObject(pointerKey, pointer.message, { nothing: pointerNote }));
  } else if (pointer === undefined && refs.length > 0) {
    bad.push(badObject(pointerKey, "it is not there", { nothing: pointerNote }));
  }
  return { refs, uses, bad };
}

const pointerNote = "nothing: listings are what counts, and the next change writes it again";

/** @returns undefined if it was pruned since it was listed. */
async function read(
  store: ObjectStore,
  ref: ManifestRef,
  signal: AbortSignal,
): Promise<Manifest | FileSyncError | undefined> {
  try {
    return await readManifest(store, ref, { signal });
  } catch (error) {
    if (error instanceof FileSyncError) return error;
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Manifests that the pointer, the daemon or a later manifest names, and that are not there although nothing prunes them. */
function findMissing(
  listed: readonly ManifestRef[],
  previous: ReadonlyMap<string, ManifestRef>,
  pointer: ManifestRef | FileSyncError | undefined,
  { finestKeepMs, nowMs, newestKnown }: ManifestsRequest,
): BadObject[] {
  const there = new Set(listed.map(manifestKey));
  const missing = new Map<string, BadObject>();
  for (const [key, next] of previous) {
    const ref = parseManifestKey(key);
    // Older ones are thinned out.
    if (there.has(key) || ref === undefined || nowMs - ref.time.getTime() > finestKeepMs) continue;
    const span = { timeline: ref.timeline, from: ref.time, to: next.time };
    missing.set(key, badObject(key, "it is not there, and a later manifest names it", [span]));
  }
  if (pointer !== undefined && !(pointer instanceof FileSyncError)) {
    const key = manifestKey(pointer);
    const isNewest = listed.every(
      (ref) => ref.timeline !== pointer.timeline || compareManifests(ref, pointer) < 0,
    );
    const span = { timeline: pointer.timeline, from: pointer.time, to: null };
    const why = "it is not there, and was the newest: the pointer names it";
    if (isNewest && !there.has(key)) missing.set(key, badObject(key, why, [span]));
  }
  const known = newestKnown === null ? undefined : parseManifestKey(newestKnown);
  if (newestKnown !== null && known !== undefined && !there.has(newestKnown)) {
    const span = { timeline: known.timeline, from: known.time, to: null };
    const why = "it is not there, and was the newest: the daemon here has written it";
    missing.set(newestKnown, badObject(newestKnown, why, [span]));
  }
  return [...missing.values()];
}

/** From a manifest's moment to the next one's of its timeline. */
function spanOf(refs: readonly ManifestRef[], key: string): UseSpan[] {
  const index = refs.findIndex((ref) => manifestKey(ref) === key);
  const ref = refs[index];
  if (ref === undefined) return [];
  const next = refs[index + 1];
  const to = next?.timeline === ref.timeline ? next.time : null;
  return [{ timeline: ref.timeline, from: ref.time, to }];
}
