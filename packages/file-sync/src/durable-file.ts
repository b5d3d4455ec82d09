import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** Replaces a small file as a whole: temporary name, fsync, rename, fsync of the directory. Durable when it resolves. */
export async function writeWhole(path: string, content: Uint8Array | string): Promise<void> {
  const temporary = `${path}.tmp`;
  {
    await using file = await open(temporary, "w", 0o600);
    await file.writeFile(content);
    await file.sync();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
