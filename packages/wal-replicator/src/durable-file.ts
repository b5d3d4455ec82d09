import { closeSync, fsync, openSync } from "node:fs";
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";

/** Replaces a small file as a whole: temporary name, fsync, rename, fsync of the directory. Durable when it resolves. */
export async function writeWhole(
  path: string,
  parts: readonly (Uint8Array | string)[],
): Promise<void> {
  const temporary = `${path}.tmp`;
  {
    await using file = await open(temporary, "w", 0o600);
    for (const part of parts) await file.writeFile(part);
    await file.sync();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** @returns undefined if there is no such file; every other failure is thrown. */
export async function readIfExists(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const descriptor = openSync(path, "r");
  try {
    await sync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

const sync = promisify(fsync);
