import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { errnoOf } from "./directory-errors.ts";
import { isObjectKey } from "./object-key.ts";

/**
 * Yields the keys below `root` that begin with `prefix` and are behind `startAfter`, in byte order of the whole key.
 *
 * Only directories that can hold such keys are read. Hidden files, other names that are no key segments, and what is
 * neither file nor directory are passed over. Symbolic links are followed, as a `get` does. Names of one directory per
 * depth are in memory at a time.
 *
 * What vanishes meanwhile is left out; every other error of the operating system passes unwrapped.
 */
export async function* walkKeys(
  root: string,
  prefix: string,
  startAfter: string,
): AsyncGenerator<string, void, undefined> {
  const parent = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  yield* walk(root, parent, { prefix, startAfter });
}

interface Selection {
  readonly prefix: string;
  readonly startAfter: string;
}

/** @param parent - key of the directory with its slash, or "" for the root. */
async function* walk(
  root: string,
  parent: string,
  selection: Selection,
): AsyncGenerator<string, void, undefined> {
  const { prefix, startAfter } = selection;
  // A directory sorts by its name with the slash, which is where its keys are: "a-b" < "a/b" < "a0".
  for (const key of (await readNames(root, parent)).sort(byBytes)) {
    if (!key.startsWith(prefix) && !prefix.startsWith(key)) continue;
    if (key.endsWith("/")) {
      const isWhollyBefore = key < startAfter && !startAfter.startsWith(key);
      if (!isWhollyBefore) yield* walk(root, key, selection);
    } else if (key.startsWith(prefix) && key > startAfter) {
      yield key;
    }
  }
}

/** Keys are ASCII, so that the order of UTF-16 units is byte order. */
function byBytes(a: string, b: string): number {
  return a < b ? -1 : 1;
}

async function readNames(root: string, parent: string): Promise<string[]> {
  const directory = join(root, parent);
  let entries: Dirent[];
  try {
    entries = await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
  const names: string[] = [];
  for (const entry of entries) {
    if (!isObjectKey(parent + entry.name)) continue;
    const kind = entry.isSymbolicLink() ? await linkedKind(directory, entry.name) : entry;
    if (kind?.isFile()) names.push(parent + entry.name);
    else if (kind?.isDirectory()) names.push(`${parent}${entry.name}/`);
  }
  return names;
}

/** @returns undefined for a link that leads nowhere, or to a directory that it lies in: following that would not end. */
async function linkedKind(
  directory: string,
  name: string,
): Promise<Pick<Dirent, "isFile" | "isDirectory"> | undefined> {
  try {
    const target = await realpath(join(directory, name));
    const isAbove = `${await realpath(directory)}${sep}`.startsWith(`${target}${sep}`);
    return isAbove ? undefined : await stat(target);
  } catch (error) {
    if (isAbsence(error) || errnoOf(error) === "ELOOP") return undefined;
    throw error;
  }
}

/** Nothing has this path: no such name, or a file where a directory would have to be. */
export function isAbsence(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === "ENOENT" || errno === "ENOTDIR";
}
