import { mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Writes a file so that it is there whole or not at all. Makes its directory if need be.
 *
 * Durability point: when it resolves, the file survives a power cut.
 *
 * @param mode - permission bits, less the umask.
 */
export async function writeDurably(
  path: string,
  content: string | Uint8Array,
  mode: number,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.new`;
  {
    await using file = await open(temporary, "w", mode);
    await file.writeFile(content);
    await file.sync();
  }
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Makes renames in the directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}
