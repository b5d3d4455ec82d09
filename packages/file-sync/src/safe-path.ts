import { join, sep } from "node:path";
import { FileSyncError } from "./errors.ts";
import { isManifestPath } from "./manifest.ts";

/** @returns the name of the root that a manifest's path belongs to. */
export function rootNameOf(path: string): string {
  const slash = path.indexOf("/");
  return slash === -1 ? path : path.slice(0, slash);
}

/** @returns the path of the directory that holds it; undefined for a root. */
export function parentOf(path: string): string | undefined {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? undefined : path.slice(0, slash);
}

/**
 * Where an entry of a manifest lies, if its root lies at `base`: always `base` itself or something below it. Links are another matter: who
 * writes there looks that the directory is where its name says.
 *
 * @param base - absolute.
 * @throws {FileSyncError} `PATH_UNSAFE` for a path that leads elsewhere, or that would become another name on this machine.
 */
export function safePath(base: string, path: string): string {
  if (!isManifestPath(path)) throw unsafe(path, "it has an empty name, '.', '..' or a zero byte");
  // Written as UTF-8 it would become U+FFFD: one name for many.
  if (!path.isWellFormed()) throw unsafe(path, "half a surrogate pair is no character");
  const names = path.split("/").slice(1);
  if (sep !== "/" && names.some((name) => name.includes(sep) || name.includes(":"))) {
    throw unsafe(path, `a name with '${sep}' or ':' leads elsewhere on this system`);
  }
  return join(base, ...names);
}

function unsafe(path: string, why: string): FileSyncError {
  return new FileSyncError(
    "PATH_UNSAFE",
    `the path ${JSON.stringify(path)} is refused: ${why}`,
    "No manifest of ours has such a path: find out who wrote it. Nothing was changed.",
  );
}
