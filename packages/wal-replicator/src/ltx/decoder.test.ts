import { describe, expect, test } from "vitest";
import { FormatError, InvariantError } from "../errors.ts";
import { Crc64 } from "./crc64.ts";
import { LtxDecoder, type LtxDecoderOptions } from "./decoder.ts";
import { checksumPage, formatChecksum } from "./page-checksum.ts";
import { concat, decodeFile, encodeFile, filled, g2, g3, header, hex } from "./testing.ts";
import { toTxid } from "./txid.ts";

const page = Uint8Array.from({ length: 512 }, (_, index) => (index * index) >> 3);
/** Not a snapshot, pages 1 and 3 of 3. */
const increment = encodeFile(header({ commit: 3, min: 2 }), [
  [1, filled(512, 1)],
  [3, page],
]);

/** Puts the right checksum at the end of a file that was changed, so that only the changed thing is wrong. */
function resealed(
  bytes: Uint8Array,
  pages: readonly [frameAt: number, hashedHeader: number, frameBytes: number, page: Uint8Array][],
): Uint8Array {
  const sealed = bytes.slice();
  const crc = new Crc64();
  crc.update(sealed, 0, 100);
  let at = 100;
  for (const [frameAt, hashedHeader, frameBytes, data] of pages) {
    crc.update(sealed, frameAt, frameAt + hashedHeader);
    crc.update(data);
    at = frameAt + frameBytes;
  }
  crc.update(sealed, at, sealed.length - 8);
  new DataView(sealed.buffer).setBigUint64(sealed.length - 8, crc.toBigInt() | (1n << 63n));
  return sealed;
}

/** G2 with other bytes at `offset`, under a matching checksum. */
function g2With(offset: number, bytes: string): Uint8Array {
  const changed = g2.slice();
  changed.set(hex(bytes), offset);
  return resealed(changed, [[100, 10, 34, filled(512, 0x31)]]);
}

/** G2 with other bytes in the place of everything behind its page, under a matching checksum. */
function g2EndingWith(bytes: string): Uint8Array {
  return resealed(concat([g2.subarray(0, 134), hex(bytes)]), [[100, 10, 34, filled(512, 0x31)]]);
}

function refusal(bytes: Uint8Array, options?: LtxDecoderOptions): string {
  try {
    decodeFile(bytes, [bytes.length], options);
    return "accepted";
  } catch (error) {
    return error instanceof FormatError ? error.code : String(error);
  }
}

describe("LtxDecoder refuses", () => {
  test("nothing of the unchanged file", () => {
    expect(refusal(g2With(0, "4c"))).toBe("accepted");
    expect(g2With(0, "4c")).toEqual(g2);
  });

  test.each([
    ["page 2 of a snapshot of one page", g2With(100, "00000002"), "LTX_BAD_PAGE"],
    ["the end of the pages in the place of page 1", g2With(100, "00000000 0000"), "LTX_BAD_PAGE"],
    ["a snapshot that ends before commit", g2With(12, "00000002"), "LTX_BAD_PAGE"],
    ["an unknown page flag", g2With(104, "0003"), "LTX_BAD_PAGE"],
    ["flags at the end of the pages", g2With(138, "0001"), "LTX_BAD_PAGE"],
    ["a block of no bytes", g2With(106, "00000000"), "LTX_BAD_PAGE"],
    ["a block larger than a page can be", g2With(106, "00000213"), "LTX_BAD_PAGE"],
    ["a block of 4 GiB", g2With(106, "ffffffff"), "LTX_BAD_PAGE"],
    ["an index with another page number", g2With(140, "02"), "LTX_BAD_INDEX"],
    ["an index with another offset", g2With(141, "65"), "LTX_BAD_INDEX"],
    ["an index with another length", g2With(142, "23"), "LTX_BAD_INDEX"],
    [
      "an index without the page",
      g2EndingWith(`000000000000 00 0000000000000001 ${"00".repeat(16)}`),
      "LTX_BAD_INDEX",
    ],
    [
      "an index with the page twice",
      g2EndingWith(`000000000000 016422 016422 00 0000000000000007 ${"00".repeat(16)}`),
      "LTX_BAD_INDEX",
    ],
    [
      "an index number of more than 10 bytes",
      g2EndingWith(`000000000000 ${"80".repeat(10)}`),
      "LTX_BAD_INDEX",
    ],
    [
      "an index number beyond 2^53",
      g2EndingWith(`000000000000 01 ${"ff".repeat(8)}`),
      "LTX_BAD_INDEX",
    ],
    ["an index length that counts itself", g2With(144, "000000000000000c"), "LTX_BAD_INDEX"],
    ["an index length of 2^63", g2With(144, "8000000000000004"), "LTX_BAD_INDEX"],
    ["a post-apply checksum under NoChecksum", g2With(152, "8000000000000000"), "LTX_BAD_TRAILER"],
    ["a byte behind the trailer", concat([g2, Uint8Array.of(0)]), "LTX_BAD_TRAILER"],
    ["a reserved byte that was not hashed", withByte(g2, 99, 1), "LTX_CHECKSUM_MISMATCH"],
    ["a file checksum without bit 63", withByte(g2, 160, 0x71), "LTX_BAD_TRAILER"],
    ["another file checksum", withByte(g2, 167, 0x36), "LTX_CHECKSUM_MISMATCH"],
    ["another page in a valid block", withByte(g2, 111, 0x32), "LTX_CHECKSUM_MISMATCH"],
    ["an empty file", new Uint8Array(), "LTX_TRUNCATED"],
  ])("%s", (_, bytes, code) => {
    expect(refusal(bytes)).toBe(code);
  });

  test.each([
    ["a page twice", 1, 1],
    ["descending pages", 2, 1],
    ["a page beyond commit", 2, 4],
  ])("%s outside of a snapshot", (_, first, second) => {
    const two = encodeFile(header({ commit: 3, min: 2 }), [
      [1, filled(512, 1)],
      [3, filled(512, 1)],
    ]);
    const frameBytes = (two.length - 100 - 6 - 7 - 8 - 16) >> 1;
    two[103] = first;
    two[103 + frameBytes] = second;
    expect(refusal(two)).toBe("LTX_BAD_PAGE");
  });

  test("the lock page", () => {
    const bytes = encodeFile(header({ commit: 16386, min: 2, pageSize: 65536 }), [
      [16386, new Uint8Array(65536)],
    ]);
    bytes.set(hex("00004001"), 100);
    expect(refusal(bytes)).toBe("LTX_BAD_PAGE");
  });

  test("another file's TXIDs", () => {
    const range = { minTxid: toTxid(1), maxTxid: toTxid(1) };
    expect(refusal(g2, { range })).toBe("accepted");
    expect(refusal(g2, { range: { ...range, maxTxid: toTxid(2) } })).toBe("LTX_BAD_HEADER");
    const other = { minTxid: toTxid(1), maxTxid: toTxid(2) };
    expect(refusal(increment, { range: other })).toBe("LTX_BAD_HEADER");
  });

  test("impossible sizes, before their bytes come", () => {
    expect(refusal(g2, { size: 168 })).toBe("accepted");
    expect(() => new LtxDecoder({ size: 130 })).toThrow(FormatError);
    const manyPages = withByte(g2, 13, 1).subarray(0, 100);
    expect(refusal(manyPages, { size: 168 })).toBe("LTX_BAD_HEADER");
    expect(refusal(g2With(106, "00000200").subarray(0, 110), { size: 168 })).toBe("LTX_BAD_PAGE");
  });

  test("everything after it refused something", () => {
    const decoder = new LtxDecoder();
    expect(() => decoder.push(new Uint8Array(100))).toThrow(FormatError);
    expect(() => decoder.push(g2)).toThrow(InvariantError);
    expect(() => decoder.readPage()).toThrow(InvariantError);
    expect(() => decoder.finish()).toThrow(InvariantError);
  });
});

describe("LtxDecoder", () => {
  test("gives each page with its checksum and its block", () => {
    const decoder = new LtxDecoder();
    decoder.push(increment);
    const first = decoder.readPage();
    expect(first).toMatchObject({
      pgno: 1,
      data: filled(512, 1),
      ...checksumPage(1, filled(512, 1)),
    });
    const block = first?.block?.slice();
    const again = encodeFile(header({ commit: 3, min: 2 }), [
      [1, filled(512, 1), block as Uint8Array],
      [3, page],
    ]);
    expect(again).toEqual(increment);
  });

  test("reads into the caller's buffer", () => {
    const decoder = new LtxDecoder();
    decoder.push(increment);
    const into = new Uint8Array(512);
    expect(decoder.readPage(into)?.data).toBe(into);
    expect(() => decoder.readPage(new Uint8Array(511))).toThrow(InvariantError);
  });

  test("verifies pages that nobody read", () => {
    const decoder = new LtxDecoder();
    decoder.push(increment);
    expect(decoder.finish().pageCount).toBe(2);
  });

  test("verifies the database checksum of a snapshot that carries one", () => {
    const sealed = (postApply: string): Uint8Array => {
      const changed = g2.slice();
      changed.set(hex("00000000"), 4);
      changed.set(hex(postApply), 152);
      return resealed(changed, [[100, 10, 34, filled(512, 0x31)]]);
    };
    const checksum = formatChecksum(checksumPage(1, filled(512, 0x31)));
    expect(decodeFile(sealed(checksum)).verdict.postApplyChecksum).toBe(BigInt(`0x${checksum}`));
    expect(refusal(sealed("8000000000000001"))).toBe("LTX_CHECKSUM_MISMATCH");
    expect(refusal(sealed("0000000000000000"))).toBe("LTX_BAD_TRAILER");
  });
});

/** Every kind of file, small: a block of matches, frames, a block with literals and a hole in the pages, no pages. */
const kinds = [
  ["block", g2],
  ["frames", g3],
  ["increment", increment],
  ["no pages", encodeFile(header({ min: 2 }), [])],
] as const;

describe.each(kinds)("damage to a file: %s", (_, file) => {
  const intact = decodeFile(file);

  test("any flipped bit is refused, or changes nothing", () => {
    for (let offset = 0; offset < file.length; offset++) {
      for (const pattern of [1, 2, 4, 8, 16, 32, 64, 128, 255, file[offset] as number]) {
        if (pattern === 0) continue;
        const damaged = withByte(file, offset, (file[offset] as number) ^ pattern);
        let decoded: ReturnType<typeof decodeFile> | undefined;
        try {
          decoded = decodeFile(damaged);
        } catch (error) {
          expect(error, `byte ${offset} ^ ${pattern}`).toBeInstanceOf(FormatError);
        }
        if (decoded !== undefined) expect(decoded).toEqual(intact);
      }
    }
  });

  test("any cut is refused", () => {
    for (let length = 0; length < file.length; length++) {
      for (const options of [undefined, { size: file.length }]) {
        expect(refusal(file.subarray(0, length), options), `cut at ${length}`).toBe(
          "LTX_TRUNCATED",
        );
      }
    }
  });

  test("bytes behind the end are refused", () => {
    for (const more of [Uint8Array.of(0), file, new Uint8Array(16)]) {
      expect(refusal(concat([file, more]))).toBe("LTX_BAD_TRAILER");
    }
    const decoder = new LtxDecoder();
    decoder.push(file);
    decoder.finish();
    expect(() => decoder.push(Uint8Array.of(0))).toThrow(FormatError);
  });

  test("every split gives the same", () => {
    for (const lengths of [[1], [2], [7, 1, 100], [99, 1, 1, 1], [file.length - 1]]) {
      expect(decodeFile(file, lengths)).toEqual(intact);
    }
    for (let at = 1; at < file.length; at++) {
      expect(decodeFile(file, [at, file.length])).toEqual(intact);
    }
  });
});

function withByte(bytes: Uint8Array, offset: number, byte: number): Uint8Array {
  const changed = bytes.slice();
  changed[offset] = byte;
  return changed;
}
