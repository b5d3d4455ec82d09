import type { Txid } from "../ltx/txid.ts";
import type { Catalog, ReplicaFile } from "../replica/catalog.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import type { MaintenancePolicy } from "./policy.ts";

/** Files of one level that become one of the next. */
export interface CompactionJob {
  /** Of the file to be made: 1 … 8. */
  readonly level: number;
  /** Of the level below, ascending, each going on where the one before it ends; never empty. */
  readonly files: readonly ReplicaFile[];
  readonly minTxid: Txid;
  readonly maxTxid: Txid;
}

/** All inputs of a merge are open at the same time. */
export const inputsMax = 128;
/** They lie on the local disk meanwhile, and so does what they become. A larger file is taken alone. */
export const inputBytesMax: number = 512 * 1024 * 1024;

/**
 * What to merge next, lowest level first, oldest first. Pure. Carried out again and again, it ends with `undefined`, which is also the
 * answer to a timeline where nothing happens.
 *
 * - A level goes on behind the highest TXID of itself and all levels above it. Retention leaves the newest file of each, so that this is known.
 * - **Aligned ends**: a file covers whole files of the level below, so that it ends where one of them ends.
 * - **Windows**: by `createdAt` all sources lie in one window of the level's interval. It is merged when it is closed: by a file of another
 *   window behind it, whatever the clock says; or, if nothing follows, an interval after its end. So a window becomes one file even where uploads
 *   lag, and a clock that was wrong stops nothing.
 * - What lower levels hold of the window is waited for, unless the inputs have reached their bounds. After an outage it takes several jobs.
 * - **A file that begins with TXID 1 is never merged**: it is a full copy, which would be stored once more on each level.
 * - A TXID that no file of the level below has is left out. It ends a job; a restore needs a base behind it, merged or not.
 *
 * @param catalog - of one timeline.
 * @param levels - which to look at, ascending; all of the policy unless said otherwise.
 */
export function planCompaction(
  catalog: Catalog,
  policy: MaintenancePolicy,
  nowMs: number,
  levels: readonly number[] = compactionLevels(policy),
): CompactionJob | undefined {
  for (const level of levels) {
    const job = planLevel(catalog, level, intervalOf(policy, level), nowMs);
    if (job !== undefined) return job;
  }
  return undefined;
}

/** The levels that are merged into, ascending. */
export function compactionLevels(policy: MaintenancePolicy): number[] {
  return policy.levelIntervalsMs.map((_, index) => index + 1);
}

/**
 * When there is something to merge even if nothing new comes, in milliseconds since the Unix epoch. Pure.
 *
 * @returns later than `nowMs`; Infinity if only a new file can make work.
 */
export function nextCompactionMs(
  catalog: Catalog,
  policy: MaintenancePolicy,
  nowMs: number,
): number {
  let nextMs = Number.POSITIVE_INFINITY;
  for (const level of compactionLevels(policy)) {
    const [first] = filesToMerge(catalog, level);
    if (first === undefined) continue;
    const dueMs = closedMs(first, intervalOf(policy, level));
    // What is due already waits for a lower level, which has a time of its own, or has failed, which has one too.
    if (dueMs > nowMs) nextMs = Math.min(nextMs, dueMs);
  }
  return nextMs;
}

function planLevel(
  catalog: Catalog,
  level: number,
  intervalMs: number,
  nowMs: number,
): CompactionJob | undefined {
  const sources: ReplicaFile[] = [];
  let bytes = 0;
  for (const file of filesToMerge(catalog, level)) {
    const [first, last] = [sources[0], sources.at(-1)];
    if (first !== undefined && last !== undefined) {
      const isFull = sources.length >= inputsMax || bytes + file.size > inputBytesMax;
      const isOther = windowOf(file, intervalMs) !== windowOf(first, intervalMs);
      if (isFull || isOther || file.minTxid !== last.maxTxid + 1n) return toJob(level, sources);
    }
    if (file.level !== level - 1) return undefined;
    sources.push(file);
    bytes += file.size;
  }
  const [first] = sources;
  if (first === undefined) return undefined;
  const isClosed = sources.length >= inputsMax || nowMs >= closedMs(first, intervalMs);
  return isClosed ? toJob(level, sources) : undefined;
}

/**
 * What `level` lacks, by TXID: files of the level below it, then those of the lower levels that are to become such. Where lower levels hold
 * the same TXIDs still, the merged file counts.
 */
function* filesToMerge(catalog: Catalog, level: number): Generator<ReplicaFile, void> {
  let reached = 0n;
  for (let above = level; above < snapshotLevel; above += 1) {
    reached = max(reached, end(catalog, above));
  }
  for (let below = level - 1; below >= 0; below -= 1) {
    const files = catalog.level(below);
    let index = files.length;
    while (index > 0 && (files[index - 1] as ReplicaFile).minTxid > reached) index -= 1;
    for (; index < files.length; index += 1) {
      const file = files[index] as ReplicaFile;
      if (file.minTxid > 1n) yield file;
    }
    reached = max(reached, end(catalog, below));
  }
}

function end(catalog: Catalog, level: number): bigint {
  return catalog.level(level).at(-1)?.maxTxid ?? 0n;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function windowOf(file: ReplicaFile, intervalMs: number): number {
  return Math.floor(file.createdAt.getTime() / intervalMs);
}

/** When a window that nothing follows is closed: what was captured in it has been stored by then, or the store is away. */
function closedMs(file: ReplicaFile, intervalMs: number): number {
  return (windowOf(file, intervalMs) + 2) * intervalMs;
}

function intervalOf(policy: MaintenancePolicy, level: number): number {
  return policy.levelIntervalsMs[level - 1] as number;
}

function toJob(level: number, files: readonly ReplicaFile[]): CompactionJob {
  const { minTxid } = files[0] as ReplicaFile;
  const { maxTxid } = files.at(-1) as ReplicaFile;
  return { level, files, minTxid, maxTxid };
}
