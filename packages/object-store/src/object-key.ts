import { ObjectStoreError } from "./errors.ts";

/**
 * The keys that every store of ours accepts: `[A-Za-z0-9._/-]`, so that no store, URL or file system has to encode them.
 * A segment does not begin with a dot: `.` and `..` lead elsewhere, and directories keep their own files under such names.
 */
const segmentPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;
/** S3's own limit. Keys are ASCII, so characters are bytes. */
const keyBytesMax = 1024;
/** File systems take 255 bytes; the rest is room for what a directory adds to the name. */
const segmentBytesMax = 200;

function isKeySegment(segment: string): boolean {
  return segment.length <= segmentBytesMax && segmentPattern.test(segment);
}

/** Whether the text is a key that stores accept: 1 to 1,024 bytes, segments of 1 to 200 bytes. */
export function isObjectKey(text: string): boolean {
  return text.length <= keyBytesMax && text.split("/").every(isKeySegment);
}

/** @throws {ObjectStoreError} `INVALID_ARGUMENT` if it is not a key. */
export function checkKey(operation: string, key: string): void {
  if (isObjectKey(key)) return;
  throw new ObjectStoreError("INVALID_ARGUMENT", "not a key that stores accept", {
    operation,
    key,
    hint: `A key has segments of at most ${segmentBytesMax} characters [A-Za-z0-9._-] that do not begin with a dot, with one slash between them, at most ${keyBytesMax} in all.`,
  });
}

/**
 * Accepts every beginning of a key, the empty one included; it may end in the middle of a segment.
 *
 * @throws {ObjectStoreError} `INVALID_ARGUMENT` if no key can begin so: a caller that lists it would take its own mistake for "nothing there".
 */
export function checkPrefix(operation: string, prefix: string): void {
  const cutsAtSlash = prefix === "" || prefix.endsWith("/");
  if (isObjectKey(cutsAtSlash ? `${prefix}x` : prefix)) return;
  throw new ObjectStoreError("INVALID_ARGUMENT", "no key can begin like this", {
    operation,
    key: prefix,
    hint: "A prefix is the beginning of a key: no leading slash, no empty segment, no segment that begins with a dot.",
  });
}
