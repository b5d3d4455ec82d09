import { closeSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import promises, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

/**
 * Imported, it has the engine's small files opened, read, written and removed at once, and not by a thread: they are as real, and to wait for a thread a
 * thousand times a seed costs more than all that is simulated. What else the engine does with files stays as it is.
 */
const isSmall = (path: unknown): path is string =>
  typeof path === "string" && /(\.ltx|\/(source-\d+|merged|snapshot)\.tmp)$/.test(path);

/** What the engine uses of a handle; anything else fails. */
class InstantFile implements Pick<FileHandle, "appendFile" | "close"> {
  readonly #fd: number;

  constructor(path: string, flags: string, mode: number | undefined) {
    this.#fd = openSync(path, flags, mode);
  }

  async read(bytes: Uint8Array, offset: number, length: number, position: number) {
    return { bytesRead: readSync(this.#fd, bytes, offset, length, position), buffer: bytes };
  }

  async appendFile(data: string | Uint8Array): Promise<void> {
    const bytes = Buffer.from(data as Uint8Array);
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
  }

  async close(): Promise<void> {
    closeSync(this.#fd);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const { open, rm } = promises;

Object.assign(promises, {
  open: async (...[path, flags = "r", mode]: Parameters<typeof open>) =>
    isSmall(path) && typeof flags === "string"
      ? new InstantFile(path, flags, mode as number | undefined)
      : await open(path, flags, mode),
  rm: async (...[path, options]: Parameters<typeof rm>) => {
    if (!isSmall(path)) return await rm(path, options);
    try {
      unlinkSync(path);
    } catch (error) {
      if (options?.force !== true || (error as NodeJS.ErrnoException).code !== "ENOENT")
        throw error;
    }
  },
});
syncBuiltinESMExports();
