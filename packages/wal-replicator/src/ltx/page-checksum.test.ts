import { describe, expect, test } from "vitest";
import { lockPgno } from "./lock-page.ts";
import {
  checksumPage,
  checksumToBigInt,
  formatChecksum,
  rollingChecksum,
  toggleRolling,
} from "./page-checksum.ts";
import { filled } from "./testing.ts";

describe("checksumPage", () => {
  test.each([
    [1, filled(512, 0x31), "eb1a999231044ddd"],
    [1, filled(512, 1), "e4e4aaa102377eee"],
    [2, filled(512, 2), "c9c9554231044ddd"],
    [3, filled(512, 3), "c2d2001cdfeaa333"],
    [1, filled(4096, 0), "d9328f592d9e733d"],
  ])("gives the vector of page %i (%#)", (pgno, page, expected) => {
    expect(formatChecksum(checksumPage(pgno, page))).toBe(expected);
    expect(checksumToBigInt(checksumPage(pgno, page))).toBe(BigInt(`0x${expected}`));
  });
});

describe("rolling checksum", () => {
  const pages = [1, 2, 3].map((pgno) => ({ pgno, data: filled(512, pgno) }));

  test("gives the vectors after one, two and three pages", () => {
    const after = [1, 2, 3].map((count) =>
      formatChecksum(rollingChecksum(512, pages.slice(0, count))),
    );
    expect(after).toEqual(["e4e4aaa102377eee", "ad2dffe333333333", "efffffffecd99000"]);
  });

  test("leaves the lock page out", () => {
    const withLock = [...pages, { pgno: lockPgno(512), data: filled(512, 9) }];
    expect(rollingChecksum(512, withLock)).toEqual(rollingChecksum(512, pages));
  });

  test("loses a page that is toggled again", () => {
    const two = rollingChecksum(512, pages.slice(0, 2));
    const third = checksumPage(3, filled(512, 3));
    expect(toggleRolling(toggleRolling(two, third), third)).toEqual(two);
  });
});

test("lock pages of all page sizes", () => {
  const sizes = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];
  expect(sizes.map(lockPgno)).toEqual([
    2097153, 1048577, 524289, 262145, 131073, 65537, 32769, 16385,
  ]);
});
