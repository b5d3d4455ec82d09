import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf } from "./directory-errors.ts";

/**
 * Creates directories below a root so that they survive a crash: a new name lasts only once its parent is synced.
 *
 * Each directory is made sure of once per instance, also one that is already there: the process that made it may have died
 * before it synced the parent.
 */
export class DurableDirectories {
  readonly #root: string;
  readonly #known = new Map<string, Promise<void>>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Durability point: when it resolves, the directory (`root` itself or below it) and all above it are on disk. */
  ensure(directory: string): Promise<void> {
    let known = this.#known.get(directory);
    if (known === undefined) {
      known = this.#make(directory);
      this.#known.set(directory, known);
      known.catch(() => this.#known.delete(directory));
    }
    return known;
  }

  /** Somebody removed directories behind our back: looks at all of them again. */
  forget(): void {
    this.#known.clear();
  }

  async #make(directory: string): Promise<void> {
    if (directory === this.#root) {
      // What was there before is left alone: above the root, directories may not be ours to open.
      const firstMade = await mkdir(directory, { recursive: true });
      if (firstMade === undefined) return;
      for (let path = directory; path.length >= firstMade.length; path = dirname(path)) {
        await syncDirectory(dirname(path));
      }
      return;
    }
    const parent = dirname(directory);
    await this.ensure(parent);
    try {
      await mkdir(directory);
    } catch (error) {
      // Something else than a directory under this name shows itself at the next open, with a better error.
      if (errnoOf(error) !== "EEXIST") throw error;
    }
    await syncDirectory(parent);
  }
}

/** Durability point for the names in a directory. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
