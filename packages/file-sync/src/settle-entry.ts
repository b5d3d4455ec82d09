import { constants, fchmodSync, fsync, futimesSync, write, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { rootUnusable } from "./file-errors.ts";
import type { FileEntry } from "./manifest.ts";
import { modeToSet } from "./plan-pull.ts";

const sync = promisify(fsync);
const writeAt = promisify(write);

/** What does not wait for the disk is done at once: a trip through the thread pool costs more. */
const quickBytesMax = 1 << 16;

/** Durability point for a file: bytes, mode and time. */
export async function settleFile(descriptor: number, file: FileEntry): Promise<void> {
  const { mtimeMs } = file;
  fchmodSync(descriptor, modeToSet(file));
  // Seconds go to the kernel as a double and are cut: half a microsecond more keeps them in their millisecond. A number below 0 would be "now".
  const mtime = mtimeMs < 0 ? new Date(mtimeMs) : (mtimeMs + 0.0005) / 1000;
  futimesSync(descriptor, mtime, mtime);
  await sync(descriptor);
}

/** Durability point for a directory: its names, and its mode if there is one to set. */
export async function settleDirectory(location: string, mode: number | undefined): Promise<void> {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  try {
    await using handle = await open(location, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (mode !== undefined) await handle.chmod(mode);
    await handle.sync();
  } catch (error) {
    rootUnusable(location)(error);
  }
}

/** One write(2) may take less than it is given. */
export async function writeAll(
  descriptor: number,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    const place = [offset, bytes.length - offset, position + offset] as const;
    if (bytes.length <= quickBytesMax) offset += writeSync(descriptor, bytes, ...place);
    else offset += (await writeAt(descriptor, bytes, ...place)).bytesWritten;
  }
}
