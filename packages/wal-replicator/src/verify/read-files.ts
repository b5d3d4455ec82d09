import { createHash } from "node:crypto";
import { isNotFound, type ObjectStore } from "@vaultwarden-stream/object-store";
import { FormatError } from "../errors.ts";
import { LtxInput } from "../ltx/decode-ltx.ts";
import type { ReplicaFile } from "../replica/catalog.ts";

/** Part `n` of `t`: after t runs, one with each n, everything was read. A file is always in the same part. */
export interface Subset {
  /** 1 … t. */
  readonly n: number;
  readonly t: number;
}

export function isInSubset(key: string, { n, t }: Subset): boolean {
  return createHash("sha256").update(key).digest().readUInt32BE() % t === n - 1;
}

/**
 * The order in which files are read, with another beginning: by a digest of their keys, which does not change when files come and go. So
 * reading that stops somewhere is continued there, by another run.
 *
 * @param startAt - 8 hex digits; undefined: the beginning.
 */
export function inReadingOrder<T extends { readonly key: string }>(
  files: readonly T[],
  startAt: string | undefined,
): T[] {
  const ordered = files
    .map((file) => ({ file, place: placeOf(file.key) }))
    .sort((a, b) => (a.place === b.place ? 0 : a.place < b.place ? -1 : 1));
  const before = ordered.filter(({ place }) => startAt !== undefined && place < startAt);
  return [...ordered.slice(before.length), ...before].map(({ file }) => file);
}

/** 8 hex digits. */
export function placeOf(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 8);
}

/** What reading a file to its end has shown. */
export type FileFinding =
  | {
      readonly state: "sound";
      /** Who wrote it, as the object says; undefined: it does not. */
      readonly epochNonce: string | undefined;
      /** By the writer's clock and by the store's. */
      readonly written: { readonly at: Date; readonly modified: Date };
    }
  /** Its bytes are not what its name and its checksums say. */
  | { readonly state: "damaged"; readonly message: string }
  /** The store says that it is not there. Retention may have removed it since it was listed. */
  | { readonly state: "vanished" };

/**
 * Reads files to their end, a few at a time, and checks everything that a file says about itself: structure, every page, checksum.
 * In memory is a piece of each.
 *
 * @returns findings of the first of them; of all, unless the time was over.
 * @throws errors of the store as they are, apart from "not found": nothing is known about a file that could not be read.
 */
export async function readFiles(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  options: {
    readonly signal?: AbortSignal;
    /** Asked before each file but the first: whether there is time for it. */
    readonly hasTime?: () => boolean;
    readonly onFile?: (file: ReplicaFile) => void;
  } = {},
): Promise<ReadonlyMap<string, FileFinding>> {
  const { onFile, hasTime = () => true } = options;
  const failed = new AbortController();
  const signal =
    options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
  const findings = new Map<string, FileFinding>();
  let begun = 0;
  const work = async (): Promise<void> => {
    for (;;) {
      const file = files[begun];
      // What takes longer than the limit all alone gets read too, or no run would ever come to the next.
      if (file === undefined || (begun > 0 && !hasTime())) return;
      begun += 1;
      signal.throwIfAborted();
      findings.set(file.key, await readFile(store, file, signal));
      onFile?.(file);
    }
  };
  try {
    await Promise.all(Array.from({ length: readsAtOnce }, work));
  } catch (error) {
    failed.abort(error);
    throw error;
  }
  return findings;
}

const readsAtOnce = 4;

async function readFile(
  store: ObjectStore,
  file: ReplicaFile,
  signal: AbortSignal,
): Promise<FileFinding> {
  let input: LtxInput | undefined;
  try {
    const { body, info } = await store.get(file.key, { signal });
    input = new LtxInput(body, { range: file, size: info.size });
    await input.finish();
    const recorded = info.metadata?.["rolling-checksum"];
    if (recorded !== undefined && !/^[0-9a-f]{16}$/.test(recorded)) {
      return {
        state: "damaged",
        message: "the rolling checksum kept with it is not 16 hex digits",
      };
    }
    const epochNonce = info.metadata?.["epoch-nonce"];
    const { timestamp, lastModified: modified } = info;
    return { state: "sound", epochNonce, written: { at: timestamp ?? modified, modified } };
  } catch (error) {
    if (error instanceof FormatError) return { state: "damaged", message: error.message };
    if (isNotFound(error)) return { state: "vanished" };
    throw error;
  } finally {
    await input?.close();
  }
}
