import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lockPgno } from "../ltx/lock-page.ts";
import { checksumPage, formatChecksum, rollingChecksum } from "../ltx/page-checksum.ts";
import { PageChecksumChanges, PageChecksums } from "./page-checksums.ts";

const pageSize = 512;

/** A page whose content is told by one number. */
function page(content: number): Uint8Array {
  return new Uint8Array(pageSize).fill(content);
}

/** Passes over a small database: each sets its size and gives some pages a new content. */
const passes = fc.array(
  fc.record({
    pageCount: fc.integer({ min: 1, max: 12 }),
    contents: fc.dictionary(
      fc.integer({ min: 1, max: 14 }).map(String),
      fc.integer({ min: 0, max: 255 }),
    ),
  }),
  { maxLength: 12 },
);

describe("PageChecksums", () => {
  it("keeps the rolling checksum of the whole database through growth, shrinking and changes, and foretells it", () => {
    fc.assert(
      fc.property(passes, (given) => {
        const table = new PageChecksums(pageSize);
        let database: number[] = [];
        for (const { pageCount, contents } of given) {
          const changes = new PageChecksumChanges(pageCount);
          const next = Array.from(
            { length: pageCount },
            (_, index) => contents[index + 1] ?? database[index] ?? 0,
          );
          for (let pgno = 1; pgno <= 14; pgno++) {
            // Growth pages are always part of a pass; pages beyond the size may be, and must not count.
            const isGrowth = pgno > database.length && pgno <= pageCount;
            if (contents[pgno] === undefined && !isGrowth) continue;
            const { low, high } = checksumPage(pgno, page(contents[pgno] ?? 0));
            changes.add(pgno, low, high);
          }
          const foretold = table.rollingAfter(changes);
          table.apply(changes);
          database = next;
          const expected = rollingChecksum(
            pageSize,
            database.map((content, index) => ({ pgno: index + 1, data: page(content) })),
          );
          expect(table.rolling).toBe(formatChecksum(expected));
          expect(foretold).toBe(table.rolling);
          expect(table.pageCount).toBe(pageCount);
        }
      }),
    );
  });

  it("takes over what was saved", () => {
    const table = new PageChecksums(pageSize);
    table.resize(3);
    for (const pgno of [1, 2, 3]) {
      const { low, high } = checksumPage(pgno, page(pgno));
      table.set(pgno, low, high);
    }
    const copy = PageChecksums.fromHalves(pageSize, table.halves.slice());
    expect(copy.rolling).toBe(table.rolling);
    // ltx-format.md 5, vector of three pages.
    expect(copy.rolling).toBe("efffffffecd99000");
  });

  it("refuses a saved page without its checksum, and a lock page with one", () => {
    expect(() => PageChecksums.fromHalves(pageSize, new Uint32Array([1, 2]))).toThrow(RangeError);
    const withLock = new Uint32Array(lockPgno(65536) * 2).fill(0xffffffff);
    expect(() => PageChecksums.fromHalves(65536, withLock)).toThrow(/page 16385/);
  });
});
