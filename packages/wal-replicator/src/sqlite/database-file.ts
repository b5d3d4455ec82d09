import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { readDescriptor } from "./byte-source.ts";

/**
 * The database file, opened once per process and inode, and never closed while the process lives with SQLite connections to it.
 *
 * Closing ANY descriptor of a file drops ALL POSIX locks that the process holds on it (fcntl(2)), SQLite's included: a single
 * careless close would silently drop the anchor and let a checkpoint overwrite frames that were not captured. Hence this
 * registry, the one piece of module state in the package: the rule belongs to the process, not to an object.
 * It must not run in a Worker, whose exit closes its descriptors.
 */
const openFiles = new Map<string, DatabaseFile>();

export interface DatabaseFile {
  /** `<device>:<inode>`: which file this is, whatever lies at the path now. */
  readonly identity: string;
  /** Positioned read. @returns the bytes read; fewer than asked only at the end of the file. */
  read(target: Uint8Array, position: number): number;
  size(): number;
}

/** Opens the file at `path` read-only, or returns the descriptor that this process already has for that inode. */
export function openDatabaseFile(path: string): DatabaseFile {
  const identity = databaseFileIdentity(path);
  const known = identity === undefined ? undefined : openFiles.get(identity);
  if (known !== undefined) return known;
  const descriptor = openSync(path, constants.O_RDONLY);
  const stats = fstatSync(descriptor, { bigint: true });
  const opened = `${stats.dev}:${stats.ino}`;
  const raced = openFiles.get(opened);
  // Replaced between stat and open by a file that we know: keeping the second descriptor open costs nothing, closing it would cost the locks.
  if (raced !== undefined) return raced;
  const file: DatabaseFile = {
    identity: opened,
    read: (target, position) => readDescriptor(descriptor, target, position),
    size: () => fstatSync(descriptor).size,
  };
  openFiles.set(opened, file);
  return file;
}

/** Which file lies at `path` now; undefined if none does. */
export function databaseFileIdentity(path: string): string | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`;
}

/** The write-ahead log carries no locks: it is opened and closed freely. */
export class WalFile {
  readonly #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** @returns undefined if there is no such file. */
  static open(path: string): WalFile | undefined {
    try {
      return new WalFile(openSync(path, constants.O_RDONLY));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  read(target: Uint8Array, position: number): number {
    return readDescriptor(this.#descriptor, target, position);
  }

  size(): number {
    return fstatSync(this.#descriptor).size;
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}
