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

/** What reading a file to its end has shown. */
export type FileFinding =
  | { readonly state: "sound" }
  /** Its bytes are not what its name and its checksums say. */
  | { readonly state: "damaged"; readonly message: string }
  /** The store says that it is not there. Retention may have removed it since it was listed. */
  | { readonly state: "vanished" };

/**
 * Reads files to their end, a few at a time, and checks everything that a file says about itself: structure, every page, checksum.
 * In memory is a piece of each.
 *
 * @throws errors of the store as they are, apart from "not found": nothing is known about a file that could not be read.
 */
export async function readFiles(
  store: ObjectStore,
  files: readonly ReplicaFile[],
  options: { readonly signal?: AbortSignal; readonly onFile?: (file: ReplicaFile) => void } = {},
): Promise<ReadonlyMap<string, FileFinding>> {
  const { onFile } = options;
  const failed = new AbortController();
  const signal =
    options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
  const findings = new Map<string, FileFinding>();
  const next = files.values();
  const work = async (): Promise<void> => {
    for (const file of next) {
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
    return { state: "sound" };
  } catch (error) {
    if (error instanceof FormatError) return { state: "damaged", message: error.message };
    if (isNotFound(error)) return { state: "vanished" };
    throw error;
  } finally {
    await input?.close();
  }
}
