import { describe, expect, test } from "vitest";
import { tickMs } from "./change-test.ts";
import { KnownFiles } from "./known-files.ts";
import type { FileSighting } from "./scan.ts";

const ctimeMs = 1_700_000_000_000;
const file: FileSighting = {
  kind: "file",
  path: "files/a",
  location: "/files/a",
  mode: 0o644,
  identity: { size: 1, mtimeNs: 0n, ctimeNs: BigInt(ctimeMs) * 1_000_000n, inode: 1n },
};
const other: FileSighting = { ...file, identity: { ...file.identity, inode: 2n } };
const sha256 = "ab".repeat(32);
const nothingUnseen = () => false;

describe("the digest of a file", () => {
  test("that was written in the tick in which it was read has to be read once more", () => {
    const known = new KnownFiles([]);
    known.look([file], 1_000, nothingUnseen);
    known.setDigest(file, sha256, new Date(ctimeMs + 1), 1_000);
    expect(known.certainDigest(file)).toBeUndefined();
    expect(known.hasUncertain).toBe(true);
    expect(known.isChanged).toBe(false);
    expect(known.takeCertain()).toEqual([]);

    known.look([file], 1_000 + tickMs, nothingUnseen);
    known.setDigest(file, sha256, new Date(ctimeMs + 1), 1_000 + tickMs);
    expect(known.certainDigest(file)).toBe(sha256);
    expect(known.hasUncertain).toBe(false);
    expect(known.isChanged).toBe(true);
  });

  test("counts as long as the file looks the same, for files that a look did not see too", () => {
    const known = new KnownFiles([{ path: file.path, identity: file.identity, sha256 }]);
    known.look([file], 0, nothingUnseen);
    expect(known.certainDigest(file)).toBe(sha256);
    expect(known.certainDigest(other)).toBeUndefined();
    known.look([], 0, () => true);
    known.look([file], 0, nothingUnseen);
    expect(known.certainDigest(file)).toBe(sha256);
    known.look([], 0, nothingUnseen);
    expect(known.isChanged).toBe(true);
    known.look([file], 0, nothingUnseen);
    expect(known.certainDigest(file)).toBeUndefined();
  });

  test("of what the file was before a look is not taken for what it is", () => {
    const known = new KnownFiles([]);
    known.look([other], 0, nothingUnseen);
    known.setDigest(file, sha256, new Date(ctimeMs + tickMs), 0);
    expect(known.certainDigest(other)).toBeUndefined();
    expect(known.certainDigest(file)).toBeUndefined();
  });
});

test("a file is seen since it looks as it does, and one of an earlier run since long", () => {
  const known = new KnownFiles([{ path: file.path, identity: file.identity, sha256 }]);
  known.look([file], 100, nothingUnseen);
  expect(known.seenMs(file.path)).toBe(Number.NEGATIVE_INFINITY);
  known.look([other], 200, nothingUnseen);
  known.look([other], 300, nothingUnseen);
  expect(known.seenMs(file.path)).toBe(200);
  expect(known.seenMs("files/b")).toBe(Number.POSITIVE_INFINITY);
});
