import { constants, fchmodSync, futimesSync, writeSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { rootUnusable } from "./file-errors.ts";
import type { FileEntry } from "./manifest.ts";
import { modeToSet } from "./plan-pull.ts";

/** What does not wait for the disk is done at once: a trip through the thread pool costs more. */
const quickBytesMax = 1 << 16;

/** Durability point for a file: bytes, mode and time. */
export async function settleFile(handle: FileHandle, file: FileEntry): Promise<void> {
  const { mtimeMs } = file;
  fchmodSync(handle.fd, modeToSet(file));
  // Seconds go to the kernel as a double and are cut: half a microsecond more keeps them in their millisecond. A number below 0 would be "now".
  const mtime = mtimeMs < 0 ? new Date(mtimeMs) : (mtimeMs + 0.0005) / 1000;
  futimesSync(handle.fd, mtime, mtime);
  await handle.sync();
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
  handle: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let offset = 0; offset < bytes.length; ) {
    const place = [offset, bytes.length - offset, position + offset] as const;
    if (bytes.length <= quickBytesMax) offset += writeSync(handle.fd, bytes, ...place);
    else offset += (await handle.write(bytes, ...place)).bytesWritten;
  }
}
