import { describe, expect, it } from "vitest";
import { PageChecksumChanges } from "../ship/page-checksums.ts";
import { growsWhole } from "./fetch-batch.ts";

/** @param pages - what the batch holds. */
function grows(pageSize: number, from: number, to: number, pages: readonly number[]): boolean {
  const changes = new PageChecksumChanges(to);
  for (const pgno of pages) changes.add(pgno, 1, 0x8000_0000);
  return growsWhole({ changes }, from, pageSize);
}

describe("growsWhole", () => {
  it("wants every new page, and no old one", () => {
    expect(grows(4096, 3, 3, [2])).toBe(true);
    expect(grows(4096, 3, 2, [1])).toBe(true);
    expect(grows(4096, 3, 5, [1, 4, 5])).toBe(true);
    expect(grows(4096, 3, 5, [1, 2, 5])).toBe(false);
    expect(grows(4096, 3, 5, [])).toBe(false);
    expect(grows(4096, 0, 2, [1, 2])).toBe(true);
  });

  it("wants no lock page, which is in no file", () => {
    const lock = 16_385;
    expect(grows(65_536, lock - 2, lock + 1, [lock - 1, lock + 1])).toBe(true);
    expect(grows(65_536, lock - 2, lock, [lock - 1])).toBe(true);
    expect(grows(65_536, lock - 1, lock + 1, [])).toBe(false);
    expect(grows(65_536, lock, lock + 1, [lock + 1])).toBe(true);
  });
});
