import type { ReplicaFile } from "../replica/catalog.ts";
import { snapshotLevel } from "../replica/replica-layout.ts";
import type { MaintenancePolicy } from "./policy.ts";

/**
 * For each file of the levels 0 to 8, the file of the lowest higher level that holds all of it, if there is one. That is the next level where
 * nothing is missing; where a level is missing altogether, the one above it stands in. Pure; n log n for n files.
 *
 * @param files - of one line, in any order.
 */
export function findCovers(files: readonly ReplicaFile[]): ReadonlyMap<ReplicaFile, ReplicaFile> {
  const levels = new Map<number, ReplicaFile[]>();
  for (const file of files) {
    if (file.level >= snapshotLevel) continue;
    const level = levels.get(file.level);
    if (level === undefined) levels.set(file.level, [file]);
    else level.push(file);
  }
  for (const level of levels.values()) level.sort(byMinTxid);
  const covers = new Map<ReplicaFile, ReplicaFile>();
  const ascending = [...levels.keys()].sort((a, b) => a - b);
  for (const [index, level] of ascending.entries()) {
    let open = levels.get(level) ?? [];
    for (const higher of ascending.slice(index + 1)) {
      open = coverFrom(open, levels.get(higher) ?? [], covers);
    }
  }
  return covers;
}

/** Both ascending by minTxid. @returns those that are not covered. */
function coverFrom(
  files: readonly ReplicaFile[],
  higher: readonly ReplicaFile[],
  covers: Map<ReplicaFile, ReplicaFile>,
): ReplicaFile[] {
  let index = 0;
  // Of those that begin early enough, the one that reaches furthest; levels of ours do not overlap, others' may.
  let furthest: ReplicaFile | undefined;
  return files.filter((file) => {
    for (; index < higher.length; index += 1) {
      const candidate = higher[index] as ReplicaFile;
      if (candidate.minTxid > file.minTxid) break;
      if (furthest === undefined || candidate.maxTxid > furthest.maxTxid) furthest = candidate;
    }
    if (furthest === undefined || furthest.maxTxid < file.maxTxid) return true;
    covers.set(file, furthest);
    return false;
  });
}

function byMinTxid(a: ReplicaFile, b: ReplicaFile): number {
  return a.minTxid < b.minTxid ? -1 : a.minTxid > b.minTxid ? 1 : 0;
}

/** For how long the precision below a level can be asked for: so long the files that a file of this level covers stay. */
export function keptBelowMs({ keepMs }: MaintenancePolicy, level: number): number {
  return keepMs[level - 1] ?? retentionOf({ keepMs });
}

/** How far back anything can be asked for, in milliseconds. */
export function retentionOf({ keepMs }: Pick<MaintenancePolicy, "keepMs">): number {
  return keepMs.at(-1) ?? 0;
}
