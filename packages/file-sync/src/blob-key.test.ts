import { expect, test } from "vitest";
import { blobKey, digestOfBlobKey, isDigest } from "./blob-key.ts";

const sha256 = `ab${"01".repeat(31)}`;

test("a blob's key is its digest, below the digest's first two digits", () => {
  expect(blobKey(sha256)).toBe(`files/blobs/ab/${sha256}`);
  expect(digestOfBlobKey(blobKey(sha256))).toBe(sha256);
});

test.each([
  `files/blobs/ac/${sha256}`,
  `files/blobs/ab/${sha256}0`,
  `files/blobs/ab/${sha256.toUpperCase()}`,
  `other/blobs/ab/${sha256}`,
  `x/files/blobs/ab/${sha256}`,
  "files/blobs/",
  sha256,
])("%s is no key of a blob", (key) => {
  expect(digestOfBlobKey(key)).toBeUndefined();
});

test("a digest is 64 lower case hex digits", () => {
  expect(isDigest(sha256)).toBe(true);
  for (const other of ["", sha256.slice(1), `${sha256}0`, `${sha256}\n`, sha256.toUpperCase()]) {
    expect(isDigest(other)).toBe(false);
  }
});
