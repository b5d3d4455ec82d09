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

  async #make(directory: string): Promise<void> {
    if (directory === this.#root) {
      // What was there before is left alone: above the root, directories may not be ours to open.
      for (const made of await makeWithParents(directory)) await syncDirectory(dirname(made));
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

/**
 * Not `mkdir` with `recursive`: where a parent exists and still nothing can be made in it (below /proc, say), Node tries again
 * forever, on a thread that even an exit of the process waits for.
 *
 * @returns what was made, the deepest first; nothing if something had the path before.
 */
async function makeWithParents(directory: string): Promise<string[]> {
  const outcome = await makeOne(directory);
  if (outcome !== "parent-missing") return outcome === "made" ? [directory] : [];
  const parents = await makeWithParents(dirname(directory));
  await mkdir(directory);
  return [directory, ...parents];
}

async function makeOne(directory: string): Promise<"made" | "exists" | "parent-missing"> {
  try {
    await mkdir(directory);
    return "made";
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "EEXIST") return "exists";
    if (errno === "ENOENT" && dirname(directory) !== directory) return "parent-missing";
    throw error;
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
