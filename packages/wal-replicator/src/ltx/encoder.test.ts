import { describe, expect, test } from "vitest";
import { InvariantError } from "../errors.ts";
import { LtxEncoder } from "./encoder.ts";
import { checksumPage } from "./page-checksum.ts";
import { concat, decodeFile, drain, encodeFile, filled, header } from "./testing.ts";

/** Tries to write these pages, all of one byte value, and to finish. */
function write(fields: Parameters<typeof header>[0], pgnos: readonly number[]): () => void {
  const { pageSize = 512 } = fields ?? {};
  const page = filled(pageSize, 1);
  return () =>
    void encodeFile(
      header(fields),
      pgnos.map((pgno) => [pgno, page] as const),
    );
}

/** The lock page of 65536-byte pages, the first that a database can reach. */
const lock = 16385;
describe("LtxEncoder", () => {
  test.each<[string, Parameters<typeof header>[0], number[], string]>([
    ["a page twice", { commit: 3, min: 2 }, [1, 1], "page 1 after page 1"],
    ["descending pages", { commit: 3, min: 2 }, [2, 1], "page 1 after page 2"],
    ["page 0", { commit: 3, min: 2 }, [0], "page 0 after page 0"],
    ["half a page number", { commit: 3, min: 2 }, [1.5], "page 1.5 of 3"],
    ["a page beyond commit", { commit: 3, min: 2 }, [1, 4], "page 4 of 3"],
    ["the lock page", { commit: lock + 1, min: 2, pageSize: 65536 }, [lock], "is the lock page"],
    [
      "a snapshot that does not begin with page 1",
      { commit: 3 },
      [2],
      "page 2 in a snapshot after 0",
    ],
    ["a snapshot with a hole", { commit: 3 }, [1, 3], "page 3 in a snapshot after 1"],
    ["a snapshot without its end", { commit: 3 }, [1, 2], "the snapshot ends at page 2 of 3"],
    ["a snapshot without pages", { commit: 1 }, [], "the snapshot ends at page 0 of 1"],
  ])("refuses %s", (_, fields, pgnos, message) => {
    expect(write(fields, pgnos)).toThrow(InvariantError);
    expect(write(fields, pgnos)).toThrow(message);
  });

  test.each<[string, Parameters<typeof header>[0], number[]]>([
    ["a file without pages", { commit: 3, min: 2 }, []],
    ["pages with holes", { commit: 9, min: 2 }, [3, 9]],
    [
      "pages on both sides of the lock page",
      { commit: lock + 1, min: 2, pageSize: 65536 },
      [lock - 1, lock + 1],
    ],
    ["a commit that is the lock page", { commit: lock, min: 2, pageSize: 65536 }, [lock - 1]],
  ])("writes %s", (_, fields, pgnos) => {
    expect(write(fields, pgnos)).not.toThrow();
  });

  test.each([lock - 1, lock, lock + 1])(
    "a snapshot of %i pages ends beside the lock page",
    (commit) => {
      // A one-byte block stands for each page, so that 1 GiB is counted and not compressed.
      const encoder = new LtxEncoder(header({ commit, pageSize: 65536 }));
      const page = new Uint8Array(65536);
      const block = Uint8Array.of(0);
      for (let pgno = 1; pgno < lock; pgno++) encoder.writePage(pgno, page, block);
      if (commit > lock) {
        expect(() => encoder.finish()).toThrow(InvariantError);
        encoder.writePage(lock + 1, page, block);
      }
      expect(encoder.finish().pageCount).toBe(commit < lock ? commit : commit - 1);
    },
  );

  test("refuses a page of another size, and everything after finish", () => {
    const encoder = new LtxEncoder(header());
    expect(() => encoder.writePage(1, new Uint8Array(511))).toThrow("page 1 has 511 bytes");
    encoder.writePage(1, filled(512, 1));
    encoder.finish();
    expect(() => encoder.writePage(2, filled(512, 1))).toThrow(InvariantError);
    expect(() => encoder.finish()).toThrow(InvariantError);
  });

  test("gives the checksum of each page", () => {
    const encoder = new LtxEncoder(header({ commit: 9, min: 2 }));
    for (const pgno of [2, 7]) {
      const page = filled(512, pgno);
      const { low, high } = encoder.writePage(pgno, page);
      expect({ low, high }).toEqual(checksumPage(pgno, page));
    }
  });

  test("a small file comes in one piece, whose size and checksum the summary tells", () => {
    const encoder = new LtxEncoder(header());
    encoder.writePage(1, filled(512, 1));
    const summary = encoder.finish();
    const pieces = drain(encoder);
    expect(pieces).toHaveLength(1);
    const { verdict } = decodeFile(pieces[0] as Uint8Array);
    expect(verdict).toMatchObject({ ...summary });
  });

  test("a large file comes in pieces of at most 1 MiB, whenever they are taken", () => {
    const pages = Array.from({ length: 80 }, (_, index) => noisePage(65536, index));
    const write = (take: (encoder: LtxEncoder) => Uint8Array | undefined): Uint8Array[] => {
      const encoder = new LtxEncoder(header({ commit: 80, pageSize: 65536 }));
      const pieces: Uint8Array[] = [];
      for (const [index, page] of pages.entries()) {
        encoder.writePage(index + 1, page);
        const piece = take(encoder);
        if (piece !== undefined) pieces.push(piece);
      }
      encoder.finish();
      return [...pieces, ...drain(encoder)];
    };
    const atEnd = write(() => undefined);
    const atOnce = write((encoder) => encoder.takeOutput());
    const when = write((encoder) => encoder.takeOutput(500_000));
    expect(atEnd.map((piece) => piece.length).every((length) => length <= 1 << 20)).toBe(true);
    expect(atEnd.length).toBe(6);
    expect(atOnce.length).toBe(81);
    expect(when.slice(0, -1).every((piece) => piece.length >= 500_000)).toBe(true);
    expect(Buffer.compare(concat(atOnce), concat(atEnd))).toBe(0);
    expect(Buffer.compare(concat(when), concat(atEnd))).toBe(0);
  });

  test.each([512, 4096, 65536])(
    "with pages of %i bytes, pieces that are given back are used again, and the file is the same",
    (pageSize) => {
      const pages = Array.from({ length: 300 }, (_, index) => noisePage(pageSize, index));
      const write = (bytesMin: number, isReused: boolean): [Uint8Array, number] => {
        const encoder = new LtxEncoder(header({ commit: 300, pageSize }));
        const copies: Uint8Array[] = [];
        const buffers = new Set<ArrayBufferLike>();
        const takeAll = (least: number): void => {
          for (;;) {
            const piece = encoder.takeOutput(least);
            if (piece === undefined) return;
            buffers.add(piece.buffer);
            copies.push(piece.slice());
            if (isReused) encoder.reuse(piece);
          }
        };
        for (const [index, page] of pages.entries()) {
          encoder.writePage(index + 1, page);
          takeAll(bytesMin);
        }
        encoder.finish();
        takeAll(1);
        return [concat(copies), buffers.size];
      };
      const [expected] = write(1 << 20, false);
      for (const bytesMin of [1, 10_000, 200_000, 1 << 20]) {
        const [file, bufferCount] = write(bytesMin, true);
        expect(Buffer.compare(file, expected)).toBe(0);
        // One that grows, and one beside it.
        expect(bufferCount).toBeLessThan(8);
      }
    },
  );
});

function noisePage(pageSize: number, seed: number): Uint8Array {
  let state = seed + 1;
  return Uint8Array.from({ length: pageSize }, () => {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    return state >>> 16;
  });
}
