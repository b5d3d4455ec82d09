import {
  isNotFound,
  type ObjectInfo,
  type ObjectStore,
  ObjectStoreError,
} from "@vaultwarden-stream/object-store";
import { blobKey, blobPrefix, digestOfBlobKey } from "./blob-key.ts";
import { chooseManifest, manifestsOf } from "./choose-manifest.ts";
import { FileSyncError } from "./errors.ts";
import type { FileEntry, Manifest } from "./manifest.ts";
import { type ManifestRef, manifestKey, manifestPrefix, parseManifestKey } from "./manifest-key.ts";
import { readManifest } from "./manifests.ts";
import {
  isPrunable,
  isTooManyBlobs,
  type PruneBounds,
  type PruneRules,
  planManifestPrune,
  type SeenBlob,
} from "./plan-prune.ts";
import { runParallel } from "./run-parallel.ts";

export interface PruneOptions extends PruneRules, Partial<PruneBounds> {
  readonly store: ObjectStore;
  /** This machine's clock. */
  readonly now: () => Date;
  readonly signal?: AbortSignal;
  /** Says what would be deleted, and deletes nothing. */
  readonly dryRun?: boolean;
  /** Manifests read, or blobs looked at, at once. Default 4. */
  readonly parallel?: number;
}

export interface PruneResult {
  readonly manifestsDeleted: number;
  readonly blobsDeleted: number;
  readonly bytesDeleted: number;
  /** Manifests and blobs that could go and are still there: beyond the bounds, or because of `stopped`. */
  readonly remaining: number;
  readonly stopped?: PruneStop;
}

/** Why a run deleted less than it could. No failure of the run: the next one goes on where it can. */
export interface PruneStop {
  /**
   * `clock`: ours and the store's differ. `append-only`: the store lets nobody like us delete. `share`: so many blobs at once need
   * `force`. `count`: the rest is for the next run. `no-manifests`: nothing says what is needed.
   */
  readonly reason: "clock" | "append-only" | "share" | "count" | "no-manifests";
  /** A sentence for people. */
  readonly message: string;
}

/** So many manifests are in memory at the same time. */
const thinAtOnce = 16;
/** By one request, where the store can do that. */
const manifestDeletesAtOnce = 100;
/** So few, that each is deleted right after the look at it. */
const blobDeletesAtOnce = 16;
const defaults = { deletesMax: 10_000, shareMax: 0.5, force: false };
const clockDifferenceMaxMs = 5 * 60_000;

/**
 * Deletes what no moment within the retention needs: manifests first, then blobs that none of the manifests names that are there.
 * Killed anywhere, it leaves no manifest without its blobs.
 *
 * Only the holder of the newest epoch prunes, and it does not push meanwhile. Against others there are the grace, a second listing
 * of the manifests, and a look at each blob right before it goes; what is left is a push that, within that moment, names a blob without
 * sending it although no manifest of its own line names it.
 *
 * @throws {FileSyncError} `MANIFEST_INVALID` if there is a manifest that this version cannot read. @throws {ObjectStoreError}. Before the
 *   first blob is deleted, everything was read that has to be; after an error at the beginning nothing has been deleted.
 */
export async function prune(options: PruneOptions): Promise<PruneResult> {
  return await new Prune(options).run();
}

class Prune {
  readonly #options: PruneOptions;
  readonly #bounds: PruneBounds;
  readonly #parallel: number;
  /** Digests that a manifest names which is there, whether it is kept or not. */
  readonly #named = new Set<string>();
  /** Of the lines. A restore of one looks for no file in what it has left behind. */
  #living: ReadonlySet<ManifestRef> = new Set();
  /** Path → digest of files that something else may name, as one of the living manifests has them that stay. */
  readonly #files = new Map<string, string>();
  readonly #manifestsRead = new Set<string>();
  #manifestsDeleted = 0;
  #blobsDeleted = 0;
  #bytesDeleted = 0;

  constructor(options: PruneOptions) {
    this.#options = options;
    const { deletesMax, shareMax, force } = { ...defaults, ...withoutUndefined(options) };
    this.#bounds = { deletesMax, shareMax, force };
    this.#parallel = options.parallel ?? 4;
  }

  async run(): Promise<PruneResult> {
    const { now } = this.#options;
    const { refs, storeTime } = await this.#listManifests();
    const store = storeTime ?? now();
    const differenceMs = now().getTime() - store.getTime();
    if (Math.abs(differenceMs) > clockDifferenceMaxMs) {
      const seconds = Math.round(differenceMs / 1000);
      return this.#result(0, "clock", `this machine's clock is ${seconds} s from the store's`);
    }
    const { lineages } = this.#options;
    // A used store whose manifests are gone looks just as if nothing were needed.
    if (
      lineages.length === 0 ||
      lineages.some((line) => chooseManifest(refs, line) === undefined)
    ) {
      return this.#result(0, "no-manifests", "no manifest of the living line says what is needed");
    }
    this.#living = new Set(lineages.flatMap((line) => manifestsOf(refs, line)));
    const plan = planManifestPrune(refs, store, this.#options);
    await this.#readAll(plan.keep);
    const remove = [...plan.remove, ...(await this.#readThin(plan.thin))];
    const { blobs, total } = await this.#listBlobs();
    // What came in meanwhile, from whomever.
    await this.#readAll(await this.#unreadManifests(remove));
    const prunable = blobs.filter(({ sha256 }) => !this.#named.has(sha256));
    if (isTooManyBlobs(prunable.length, total, this.#bounds)) {
      const message = `${prunable.length} of ${total} blobs are named by no manifest: that many at once need to be confirmed`;
      return this.#result(remove.length + prunable.length, "share", message);
    }
    return await this.#deleteAll(remove, prunable);
  }

  async #deleteAll(
    manifests: readonly ManifestRef[],
    blobs: readonly SeenBlob[],
  ): Promise<PruneResult> {
    const all = manifests.length + blobs.length;
    if (this.#options.dryRun === true) return this.#result(all);
    const { deletesMax } = this.#bounds;
    try {
      for (const some of inBatches(manifests.slice(0, deletesMax), manifestDeletesAtOnce)) {
        await this.#deleteSome(some, manifestKey, () => {
          this.#manifestsDeleted += 1;
        });
      }
      // Not while there is one, be it out of the retention, that may name some of them.
      const rest =
        manifests.length > deletesMax ? [] : blobs.slice(0, deletesMax - manifests.length);
      for (const some of inBatches(rest, blobDeletesAtOnce)) await this.#deleteBlobs(some);
    } catch (error) {
      if (!(error instanceof ObjectStoreError) || error.operation !== "deleteAll") throw error;
      if (error.code !== "FORBIDDEN") throw error;
      const left = all - this.#manifestsDeleted - this.#blobsDeleted;
      return this.#result(
        left,
        "append-only",
        `the store lets us delete nothing: ${error.message}`,
      );
    }
    if (all <= deletesMax) return this.#result(0);
    return this.#result(all - deletesMax, "count", `${deletesMax} objects are the most for a run`);
  }

  async #deleteBlobs(blobs: readonly SeenBlob[]): Promise<void> {
    const { store, signal } = this.#options;
    const old: SeenBlob[] = [];
    await runParallel(blobs, this.#parallel, signal, async ({ sha256 }, either) => {
      let info: ObjectInfo;
      try {
        info = await store.head(blobKey(sha256), { signal: either });
      } catch (error) {
        if (isNotFound(error)) return;
        throw error;
      }
      // A push sends a blob again that it is about to name, which makes it young.
      const blob = this.#toSeen(sha256, info);
      if (isPrunable(blob, this.#named, this.#options)) old.push(blob);
    });
    const keyOf = ({ sha256 }: SeenBlob): string => blobKey(sha256);
    await this.#deleteSome(old, keyOf, ({ size }) => {
      this.#blobsDeleted += 1;
      this.#bytesDeleted += size;
    });
  }

  /** @param onDeleted - is told of each that is known to be gone, also where the rest fails. */
  async #deleteSome<T>(
    items: readonly T[],
    keyOf: (item: T) => string,
    onDeleted: (item: T) => void,
  ): Promise<void> {
    if (items.length === 0) return;
    const keys = items.map(keyOf);
    let left: readonly string[] = [];
    try {
      await this.#options.store.deleteAll(keys, asOptions(this.#options.signal));
    } catch (error) {
      left = (error instanceof ObjectStoreError ? error.leftKeys : undefined) ?? keys;
      throw error;
    } finally {
      for (const item of items) if (!left.includes(keyOf(item))) onDeleted(item);
    }
  }

  async #listManifests(): Promise<{ refs: ManifestRef[]; storeTime: Date | undefined }> {
    const refs: ManifestRef[] = [];
    let storeTime: Date | undefined;
    const { store, signal } = this.#options;
    for await (const page of store.list(manifestPrefix, asOptions(signal))) {
      for (const info of page) {
        storeTime = info.storeTime ?? storeTime;
        const ref = parseManifestKey(info.key);
        if (ref !== undefined) refs.push(ref);
        // A console makes empty objects for "folders", which name nothing.
        else if (info.size > 0) throw unknownManifest(info.key);
      }
    }
    return { refs, storeTime };
  }

  /** @param known - without these. */
  async #unreadManifests(known: readonly ManifestRef[]): Promise<ManifestRef[]> {
    const seen = new Set([...this.#manifestsRead, ...known.map(manifestKey)]);
    const { refs } = await this.#listManifests();
    return refs.filter((ref) => !seen.has(manifestKey(ref)));
  }

  async #readAll(refs: readonly ManifestRef[]): Promise<void> {
    const { store, signal } = this.#options;
    await runParallel(refs, this.#parallel, signal, async (ref, either) => {
      this.#note(ref, await readManifest(store, ref, { signal: either }));
    });
  }

  /**
   * Manifests that no moment needs may hold a file that a moment's own lacks, stored a little later or removed a little earlier than what names it. Of
   * those that hold such a file, the newest stays.
   *
   * @returns those that may go.
   */
  async #readThin(refs: readonly ManifestRef[]): Promise<ManifestRef[]> {
    const { store, signal, isNamedElsewhere } = this.#options;
    if (isNamedElsewhere === undefined) return [...refs];
    const read = new Map<ManifestRef, Manifest>();
    const remove: ManifestRef[] = [];
    for (let start = 0; start < refs.length; start += thinAtOnce) {
      const some = refs.slice(start, start + thinAtOnce);
      await runParallel(some, this.#parallel, signal, async (ref, either) => {
        read.set(ref, await readManifest(store, ref, { signal: either }));
      });
      for (const ref of some) {
        const manifest = read.get(ref) as Manifest;
        const isAlone = filesOf(manifest).some(
          ({ path, sha256 }) => isNamedElsewhere(path) && this.#files.get(path) !== sha256,
        );
        if (isAlone) this.#note(ref, manifest);
        else remove.push(ref);
      }
      read.clear();
    }
    return remove;
  }

  #note(ref: ManifestRef, manifest: Manifest): void {
    const { isNamedElsewhere } = this.#options;
    const isLiving = this.#living.has(ref);
    for (const { path, sha256 } of filesOf(manifest)) {
      this.#named.add(sha256);
      if (isLiving && isNamedElsewhere?.(path) === true) this.#files.set(path, sha256);
    }
    this.#manifestsRead.add(manifestKey(ref));
  }

  /** @returns those that may go as far as is known by now; and how many there are in all. */
  async #listBlobs(): Promise<{ readonly blobs: SeenBlob[]; readonly total: number }> {
    const blobs: SeenBlob[] = [];
    let total = 0;
    const { store, signal } = this.#options;
    for await (const page of store.list(blobPrefix, asOptions(signal))) {
      for (const info of page) {
        const sha256 = digestOfBlobKey(info.key);
        if (sha256 === undefined) continue;
        total += 1;
        const blob = this.#toSeen(sha256, info);
        if (isPrunable(blob, this.#named, this.#options)) blobs.push(blob);
      }
    }
    return { blobs, total };
  }

  #toSeen(sha256: string, { size, lastModified, storeTime }: ObjectInfo): SeenBlob {
    return { sha256, size, lastModified, seenAt: storeTime ?? this.#options.now() };
  }

  #result(remaining: number, reason?: PruneStop["reason"], message = ""): PruneResult {
    return {
      manifestsDeleted: this.#manifestsDeleted,
      blobsDeleted: this.#blobsDeleted,
      bytesDeleted: this.#bytesDeleted,
      remaining,
      ...(reason === undefined ? {} : { stopped: { reason, message } }),
    };
  }
}

function* inBatches<T>(items: readonly T[], countMax: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += countMax) {
    yield items.slice(start, start + countMax);
  }
}

function filesOf({ entries }: Manifest): FileEntry[] {
  return entries.filter((entry) => entry.kind === "file");
}

function asOptions(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function withoutUndefined(bounds: Partial<PruneBounds>): Partial<PruneBounds> {
  return Object.fromEntries(Object.entries(bounds).filter(([, value]) => value !== undefined));
}

function unknownManifest(key: string): FileSyncError {
  return new FileSyncError(
    "MANIFEST_INVALID",
    `${key} lies among the manifests and is none that this version knows: it may name blobs, so nothing is deleted`,
    "If a later version wrote it, prune with that one; if it is rubbish, delete it.",
  );
}
