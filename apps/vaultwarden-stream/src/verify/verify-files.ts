import {
  type BlobUses,
  listManifests,
  manifestKey,
  verifyBlobs,
} from "@vaultwarden-stream/file-sync";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import type { Subset } from "wal-replicator";
import type { BadObject, FilesVerification } from "./files-verification.ts";
import { type ManifestsRequest, verifyManifests } from "./verify-manifests.ts";

export interface VerifyFilesOptions extends ManifestsRequest {
  readonly store: ObjectStore;
  /** Names and sizes only. */
  readonly isQuick: boolean;
  readonly subset: Subset | undefined;
  readonly hasTime: () => boolean;
  readonly startAt: string | undefined;
  /** Files that the daemon here has seen and not stored yet; null: none runs here. */
  readonly delayed: number | null;
  readonly onProgress: (done: number, total: number) => void;
}

/** All manifests that are kept against what they name, each content once. @throws errors of the store as they are. */
export async function verifyFiles(options: VerifyFilesOptions): Promise<FilesVerification> {
  const { store, isQuick, subset, startAt, signal } = options;
  const seen = await verifyManifests(store, options);
  const result = await verifyBlobs({
    store,
    entries: seen.uses.contents(),
    readData: !isQuick,
    ...(subset === undefined ? {} : { subset: { n: subset.n, of: subset.t } }),
    ...(startAt === undefined ? {} : { startAt }),
    hasTime: options.hasTime,
    onProgress: ({ blobs, total }) => options.onProgress(blobs, total),
    signal,
  });
  const stillNamed =
    result.bad.length === 0 ? () => true : await isStillThere(store, options.signal);
  const bad = result.bad.flatMap((one) => describeBlob(one, seen.uses, stillNamed));
  const lost = bad.filter(({ why }) => why === "missing").length;
  return {
    manifests: seen.refs.map(manifestKey),
    found: result.blobs - result.bad.length,
    lost,
    damaged: bad.length - lost,
    uploading: result.unnamed,
    delayed: options.delayed,
    bytes: result.bytes,
    read: result.blobsRead,
    bytesRead: result.bytesRead,
    stoppedAt: result.stoppedAt,
    bad: [...seen.bad, ...bad],
  };
}

/** Pruning may have removed manifests meanwhile, and then what only they need. */
async function isStillThere(
  store: ObjectStore,
  signal: AbortSignal,
): Promise<Parameters<BlobUses["of"]>[1] & {}> {
  const keys = new Set((await listManifests(store, { signal })).map(manifestKey));
  return (ref) => keys.has(manifestKey(ref));
}

function describeBlob(
  one: Awaited<ReturnType<typeof verifyBlobs>>["bad"][number],
  uses: BlobUses,
  isThere: Parameters<BlobUses["of"]>[1],
): BadObject[] {
  const { paths, spans } = uses.of(one, isThere);
  if (spans.length === 0) return [];
  const { sha256: object, path, size, why } = one;
  return [{ object, path, paths, size, why, costs: spans, note: null }];
}
