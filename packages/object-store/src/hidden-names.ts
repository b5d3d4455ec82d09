import { randomUUID } from "node:crypto";
import { basename, dirname, join } from "node:path";

/**
 * Names that a directory store uses beside the objects themselves. They begin with a dot, which no segment of a key does, so
 * that neither we nor stock Litestream ever take them for objects.
 */

/** A name for a file that is not complete yet, new at each call. */
export function temporaryPath(path: string): string {
  return join(dirname(path), `.${randomUUID()}.tmp`);
}

/** Whether a name is one that `temporaryPath` makes. */
export function isTemporaryName(name: string): boolean {
  return /^\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/.test(name);
}

/** Where the metadata of the object lies: `.<name>.meta` beside it. */
export function sidecarPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.meta`);
}
