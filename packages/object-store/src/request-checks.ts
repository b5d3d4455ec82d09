import { ObjectStoreError } from "./errors.ts";
import type { GetOptions, PutOptions } from "./object-store.ts";

/** S3 takes 2,048 bytes; the rest is room for the timestamp. */
const metadataBytesMax = 2000;
/** S3 keeps `PutOptions.timestamp` under this name, so a caller's own entry would collide with it. */
const reservedName = "litestream-timestamp";

/** @returns why no store accepts these entries, or undefined if all do. */
export function metadataProblem(metadata: Readonly<Record<string, string>>): string | undefined {
  let size = 0;
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9-]+$/.test(name)) {
      return `the metadata name ${JSON.stringify(name)} has other characters than [a-z0-9-]`;
    }
    if (name === reservedName) return `the metadata name ${name} belongs to the timestamp`;
    // Edges are not kept by HTTP: a header's value is trimmed on its way.
    if (!/^[\x20-\x7e]*$/.test(value) || value.trim() !== value) {
      return `the metadata value of ${name} is not printable ASCII, or has spaces at its ends`;
    }
    size += name.length + value.length;
  }
  if (size > metadataBytesMax) {
    return `the metadata has ${size} bytes, and ${metadataBytesMax} are allowed`;
  }
  return undefined;
}

/** @returns the metadata to keep with the object: none, if there are no entries, since S3 cannot tell these apart. */
export function metadataToKeep(options: PutOptions): Readonly<Record<string, string>> | undefined {
  return Object.keys(options.metadata ?? {}).length === 0 ? undefined : options.metadata;
}

/** @throws {ObjectStoreError} `INVALID_ARGUMENT` for metadata or a timestamp that no store accepts. */
export function checkPutOptions(operation: string, key: string, options: PutOptions): void {
  const problem =
    options.timestamp !== undefined && Number.isNaN(options.timestamp.getTime())
      ? "the timestamp is not a valid date"
      : metadataProblem(options.metadata ?? {});
  if (problem !== undefined) {
    throw new ObjectStoreError("INVALID_ARGUMENT", problem, { operation, key });
  }
}

/** Bytes `start` (inclusive) to `end` (exclusive) of an object. */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

/**
 * Cuts the range that was asked for to the object's size.
 *
 * @throws {ObjectStoreError} `INVALID_ARGUMENT` if the range begins at or beyond the end, or is no range.
 */
export function resolveRange(key: string, size: number, range: GetOptions["range"]): ByteSpan {
  if (range === undefined) return { start: 0, end: size };
  const { start, length } = range;
  const isRange =
    Number.isSafeInteger(start) &&
    start >= 0 &&
    (length === undefined || (Number.isSafeInteger(length) && length > 0));
  if (!isRange || start >= size) {
    throw new ObjectStoreError(
      "INVALID_ARGUMENT",
      `the range from byte ${start}, length ${length ?? "to the end"}, is not within the object's ${size} bytes`,
      { operation: "get", key },
    );
  }
  return { start, end: length === undefined ? size : Math.min(size, start + length) };
}
