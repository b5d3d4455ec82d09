import { opendir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { isTemporaryName } from "./hidden-names.ts";

/** Longer than any write takes, also of another process and over a slow mount. */
const ageMsMin = 24 * 60 * 60 * 1000;
/** Bounds what the first write into a directory waits for; what is left is found another time. */
const namesMax = 10_000;
const removedMax = 100;

/**
 * Removes temporary files of writers that were killed: those whose last change is a day old. Looks at 10,000 names at most,
 * and removes 100 at most.
 *
 * It never fails: what cannot be looked at or removed lies hidden and harms nobody, and a write that could have succeeded must
 * not fail for it.
 *
 * @param nowMs - milliseconds since the Unix epoch, by the clock of the file system.
 */
export async function sweepTemporaries(directory: string, nowMs: number): Promise<void> {
  let nameCount = 0;
  let removedCount = 0;
  try {
    for await (const { name } of await opendir(directory)) {
      nameCount += 1;
      if (isTemporaryName(name) && (await removeIfOld(join(directory, name), nowMs))) {
        removedCount += 1;
      }
      if (nameCount >= namesMax || removedCount >= removedMax) return;
    }
  } catch {
    // See above.
  }
}

/** By ctime: the mtime of a file that is being written may be set to the object's own, which is as old as it likes. */
async function removeIfOld(path: string, nowMs: number): Promise<boolean> {
  const { ctimeMs } = await stat(path);
  if (nowMs - ctimeMs < ageMsMin) return false;
  await unlink(path);
  return true;
}
