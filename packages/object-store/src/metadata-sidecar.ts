import { metadataProblem } from "./request-checks.ts";

/**
 * The hidden file `.<name>.meta` beside an object of a directory store: `{"size":…,"mtimeMs":…,"metadata":{…}}`.
 *
 * Size and mtime name the object that it belongs to. Anything that does not fit the object, or that is torn, damaged or
 * too large, reads as "no metadata": the bytes of the object are never refused for it.
 */
export interface SidecarOwner {
  /** Length of the object in bytes. */
  readonly size: number;
  /** The object's mtime, whole milliseconds since 1970. */
  readonly mtimeMs: number;
}

/** No file that we wrote is larger: 2,000 bytes of metadata, each perhaps escaped, and the frame around them. */
export const sidecarBytesMax = 16384;

export function encodeSidecar(
  owner: SidecarOwner,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const { size, mtimeMs } = owner;
  return new TextEncoder().encode(JSON.stringify({ size, mtimeMs, metadata }));
}

/** @returns the metadata, or undefined if these bytes are not the sidecar of this object. */
export function decodeSidecar(
  bytes: Uint8Array,
  owner: SidecarOwner,
): Readonly<Record<string, string>> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { size, mtimeMs, metadata } = value as Record<string, unknown>;
  if (size !== owner.size || mtimeMs !== owner.mtimeMs) return undefined;
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    return undefined;
  }
  const entries = Object.entries(metadata);
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === "string")) {
    return undefined;
  }
  return metadataProblem(Object.fromEntries(entries)) === undefined
    ? Object.fromEntries(entries)
    : undefined;
}
