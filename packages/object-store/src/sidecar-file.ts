import { type FileHandle, open } from "node:fs/promises";
import { errnoOf } from "./directory-errors.ts";
import { isAbsence } from "./directory-walk.ts";
import { writeAll } from "./file-body.ts";
import { sidecarPath, temporaryPath } from "./hidden-names.ts";
import { sidecarBytesMax } from "./metadata-sidecar.ts";

/**
 * Writes a sidecar and syncs it; if one is there already, under a temporary name beside it, which joins `hiddenNames`.
 *
 * @returns the temporary name, for the caller to rename, or undefined if the sidecar is in place.
 */
export async function placeSidecar(
  path: string,
  content: Uint8Array,
  hiddenNames: Set<string>,
): Promise<string | undefined> {
  let temporary: string | undefined;
  let file: FileHandle;
  try {
    file = await open(sidecarPath(path), "wx");
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    temporary = temporaryPath(path);
    hiddenNames.add(temporary);
    file = await open(temporary, "wx");
  }
  try {
    await writeAll(file, content);
    await file.sync();
  } finally {
    await file.close();
  }
  return temporary;
}

/** @returns at most `sidecarBytesMax` bytes, undefined if there is none. */
export async function readSidecar(path: string): Promise<Uint8Array | undefined> {
  let file: FileHandle;
  try {
    file = await open(sidecarPath(path));
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(sidecarBytesMax), 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
