/** One directory, with all below it, or one file, that is kept in the store. */
export interface SyncRoot {
  /** How manifests call it: 1 to 100 characters `[A-Za-z0-9._-]`, not beginning with a dot. Unique in a set. */
  readonly name: string;
  readonly kind: "directory" | "file";
  /** Absolute. May be absent; a symbolic link here is followed, none below it is. */
  readonly path: string;
}

const namePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/;

/** @throws {RangeError} if a name or path is not as `SyncRoot` says: a mistake of the caller. */
export function checkRoots(roots: readonly SyncRoot[]): void {
  const names = new Set<string>();
  for (const { name, path } of roots) {
    if (!namePattern.test(name)) throw new RangeError(`not a name of a root: ${name}`);
    if (names.has(name)) throw new RangeError(`two roots have the name ${name}`);
    if (!path.startsWith("/")) throw new RangeError(`the path of ${name} is not absolute: ${path}`);
    names.add(name);
  }
}
