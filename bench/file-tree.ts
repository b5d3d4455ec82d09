import { createHash, randomBytes, randomFillSync, randomUUID } from "node:crypto";
import { mkdir, open, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { listFiles } from "./directory-place.ts";
import { hashFile } from "./hash-file.ts";

/** Files as a vault has them, `<uuid>/<id>`: one to three in a directory, of bytes that do not compress. */
export interface TreeShape {
  readonly smallCount: number;
  readonly smallBytes: number;
  readonly largeCount: number;
  readonly largeBytes: number;
}

const chunkBytes = 8 * 1024 * 1024;

/** @param directory - is created. */
export async function makeFileTree(directory: string, shape: TreeShape): Promise<void> {
  const { smallCount, smallBytes, largeCount, largeBytes } = shape;
  for (let made = 0, directories = 0; made < smallCount; directories += 1) {
    const below = join(directory, randomUUID());
    await mkdir(below, { recursive: true });
    const end = Math.min(smallCount, made + 1 + (directories % 3));
    for (; made < end; made += 1) {
      await writeFile(join(below, randomBytes(10).toString("hex")), randomBytes(smallBytes));
    }
  }
  const chunk = new Uint8Array(chunkBytes);
  for (let made = 0; made < largeCount; made += 1) {
    const below = join(directory, randomUUID());
    await mkdir(below, { recursive: true });
    await using file = await open(join(below, randomBytes(10).toString("hex")), "wx");
    for (let bytes = 0; bytes < largeBytes; bytes += chunkBytes) {
      randomFillSync(chunk);
      await file.writeFile(chunk.subarray(0, largeBytes - bytes));
    }
  }
}

/** @returns one SHA-256 over the paths and contents of all files below the directory. */
export async function digestTree(directory: string): Promise<string> {
  const hash = createHash("sha256");
  const paths = listFiles(directory).map(({ path }) => path);
  for (const path of paths.sort()) {
    hash.update(`${await hashFile(path)} ${relative(directory, path)}\n`);
  }
  return hash.digest("hex");
}
