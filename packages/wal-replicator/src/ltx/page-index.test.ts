import { describe, expect, test } from "vitest";
import { PageIndex, PageIndexChecker } from "./page-index.ts";
import { concat, hex } from "./testing.ts";

function indexOf(...entries: readonly [pgno: number, frameLength: number][]): PageIndex {
  const index = new PageIndex();
  for (const [pgno, frameLength] of entries) index.add(pgno, frameLength);
  return index;
}

function encode(index: PageIndex): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const piece of index.encode()) pieces.push(piece.slice());
  return concat(pieces);
}

/** Feeds the bytes until the end is found. @returns how many there were; undefined if there was no end. */
function check(index: PageIndex, bytes: Uint8Array): number | undefined {
  const checker = new PageIndexChecker(index);
  const end = bytes.findIndex((byte, at) => checker.push(byte, at));
  return end === -1 ? undefined : end + 1;
}

test("G4's index", () => {
  const index = indexOf([1, 525], [3, 525]);
  expect(encode(index)).toEqual(hex("01648d04 03f1048d04 00 000000000000000a"));
  expect(check(index, encode(index))).toBe(10);
});

test("an index of many pages, whose offsets pass 2^32", () => {
  const entries = Array.from({ length: 100_000 }, (_, at): [number, number] => [at * 3 + 1, 65804]);
  const index = indexOf(...entries);
  const bytes = encode(index);
  expect(index.count).toBe(100_000);
  expect(check(index, bytes)).toBe(bytes.length - 8);
  expect(new DataView(bytes.buffer).getBigUint64(bytes.length - 8)).toBe(BigInt(bytes.length - 8));
});

describe("PageIndexChecker refuses", () => {
  test.each([
    ["another page number", "02 64 22 00", "entry 0 does not equal"],
    ["another offset", "01 65 22 00", "entry 0 does not equal"],
    ["another length", "01 64 23 00", "entry 0 does not equal"],
    ["an end too early", "00", "entry 0 does not equal"],
    ["an entry too many", "01 64 22 02", "more entries"],
    ["a number beyond 2^53", "01 64 ffffffffffffffff", "too large"],
  ])("%s", (_, bytes, message) => {
    expect(() => check(indexOf([1, 34]), hex(bytes))).toThrow(
      expect.objectContaining({ code: "LTX_BAD_INDEX", message: expect.stringContaining(message) }),
    );
  });
});
