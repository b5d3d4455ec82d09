import { existsSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../errors.ts";
import { mergeLtx } from "../ltx/merge.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import type { EpochMode } from "../replica/epoch.ts";
import {
  type LocalLtxFile,
  type ReplicaRoot,
  recordedRollingChecksum,
  writeTimelineFile,
} from "../replica/replica.ts";
import { fetchFiles } from "../restore/fetch-files.ts";
import type { CrashPointListener } from "../ship/crash-point.ts";
import { readPieces } from "../ship/merge-spool.ts";
import { yieldToEventLoop } from "../ship/slices.ts";
import type { CompactionJob } from "./plan-compaction.ts";

export interface CompactDeps {
  /** Behind retries: a body that breaks goes on where it broke. */
  readonly root: ReplicaRoot;
  /** Awaited before anything is written: proves that the epoch is still ours. Throws `Fenced`, or the store's error. */
  readonly beforeWrite: (signal: AbortSignal) => Promise<{
    readonly record: { readonly timeline: string; readonly nonce: string };
    readonly mode: EpochMode;
  }>;
  /** The local copy of a stored file of level 0; undefined: there is none any more. It may vanish at any time. */
  readonly localCopy: (file: ReplicaFile) => LocalLtxFile | undefined;
  /** Exists. The names `merged.tmp` and `source-<n>.tmp` in it belong to this module. */
  readonly scratchDirectory: string;
  readonly at: CrashPointListener;
}

/**
 * Merges the files of a job and stores the result. Sources without a local copy are fetched first, so that a slow or broken connection never
 * makes a merge begin again. Memory: a small piece of each source. The sources stay as they are.
 *
 * Crash safety: until the store has confirmed the file there are only temporaries; after that a repetition finds the same bytes under the
 * key, which counts.
 *
 * @param onTry - called before the request that stores the result: from then on it may be in the store, whatever is heard of it.
 * @returns the stored file.
 * @throws {FormatError} if a source is damaged.
 * @throws {ReplicationError} `FOREIGN_WRITE` if another file lies under the key.
 * @throws errors of the store as they are, also where a source is gone; what `beforeWrite` throws; the signal's reason.
 */
export async function compact(
  deps: CompactDeps,
  job: CompactionJob,
  signal: AbortSignal,
  onTry: () => void = () => {},
): Promise<ReplicaFile> {
  const mergedPath = join(deps.scratchDirectory, "merged.tmp");
  try {
    const merged = await mergeSources(deps, job, mergedPath, signal);
    deps.at("compaction-written");
    const { record, mode } = await deps.beforeWrite(signal);
    const { root } = deps;
    onTry();
    const stored = await writeTimelineFile(root, record, mode, merged, job.level, { signal });
    deps.at("compaction-stored");
    return stored;
  } finally {
    await rm(mergedPath, { force: true });
    // Most sources had a copy, and were not fetched.
    for (const index of job.files.keys()) {
      const path = sourcePath(deps, index);
      if (existsSync(path)) await rm(path, { force: true });
    }
  }
}

/** A local file for each source. */
type Sources = Map<ReplicaFile, LocalLtxFile>;

async function mergeSources(
  deps: CompactDeps,
  job: CompactionJob,
  path: string,
  signal: AbortSignal,
): Promise<LocalLtxFile> {
  const sources: Sources = new Map();
  for (const file of job.files) {
    const copy = deps.localCopy(file);
    if (copy !== undefined) sources.set(file, copy);
  }
  const hasCopies = sources.size > 0;
  await fetchLacking(deps, job, sources, signal);
  try {
    return await writeMerged(path, job, sources, signal);
  } catch (error) {
    if (!hasCopies || !isCopyAtFault(error)) throw error;
  }
  sources.clear();
  await fetchLacking(deps, job, sources, signal);
  return await writeMerged(path, job, sources, signal);
}

/** A copy was removed since it was asked for, or is damaged: the store has the file as well. If it was not the copy, the same error comes again. */
function isCopyAtFault(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return error instanceof FormatError || code === "ENOENT" || code === "EIO";
}

async function fetchLacking(
  deps: CompactDeps,
  job: CompactionJob,
  sources: Sources,
  signal: AbortSignal,
): Promise<void> {
  const lacking = job.files.filter((file) => !sources.has(file));
  let size = 0;
  for await (const part of fetchFiles(deps.root.store, lacking, signal)) {
    const file = lacking[part.fileIndex] as ReplicaFile;
    const path = sourcePath(deps, job.files.indexOf(file));
    await using handle = await open(path, size === 0 ? "w" : "a", 0o600);
    for (const chunk of part.chunks) await handle.appendFile(chunk);
    size += part.bytes;
    if (!part.isLastOfFile) continue;
    const rollingChecksum = recordedRollingChecksum(part.info);
    const { minTxid, maxTxid } = file;
    sources.set(file, { path, size, name: { minTxid, maxTxid, rollingChecksum } });
    size = 0;
  }
}

async function writeMerged(
  path: string,
  job: CompactionJob,
  sources: Sources,
  signal: AbortSignal,
): Promise<LocalLtxFile> {
  const files = job.files.map((file) => sources.get(file) as LocalLtxFile);
  const inputs = files.map((file) => ({
    source: readPieces(file.path, file.size),
    size: file.size,
    range: file.name,
  }));
  let size = 0;
  await using handle = await open(path, "w", 0o600);
  for await (const piece of mergeLtx(inputs)) {
    signal.throwIfAborted();
    await handle.appendFile(piece);
    size += piece.length;
    await yieldToEventLoop();
  }
  const { minTxid, maxTxid } = job;
  // The database after the merged file is the database after the last of its sources.
  const rollingChecksum = files.at(-1)?.name.rollingChecksum;
  return { path, size, name: { minTxid, maxTxid, rollingChecksum } };
}

function sourcePath({ scratchDirectory }: CompactDeps, index: number): string {
  return join(scratchDirectory, `source-${index}.tmp`);
}
