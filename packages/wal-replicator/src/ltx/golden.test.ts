import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { LtxDecoder } from "./decoder.ts";
import {
  concat,
  decodeFile,
  encodeFile,
  filled,
  g2,
  g3,
  header,
  hex,
  literalBlock,
  stockBlock,
} from "./testing.ts";

/** The golden files of `ltx-format.md` 10: made and verified with the Go library. */
const page31 = filled(512, 0x31);
const ramp = Uint8Array.from({ length: 512 }, (_, index) => index);

describe("encoder", () => {
  test("G1: one page of literals", () => {
    const file = encodeFile(header(), [[1, page31, literalBlock(page31)]]);
    expect(file.length).toBe(660);
    expect(createHash("sha256").update(file).digest("hex")).toBe(
      "3de35f30c18f6a1f6b621f6eaac38172a6827cadb27a9aa5ace32feb5cc8dc7b",
    );
  });

  test("G2: the same page as stock compresses it", () => {
    expect(encodeFile(header(), [[1, page31, hex(stockBlock("31"))]])).toEqual(g2);
  });

  test("G4: not a snapshot, WAL fields, a page left out", () => {
    const fields = { walOffset: 32, walSize: 1072, walSalt1: 0x01020304, walSalt2: 0x05060708 };
    const page32 = filled(512, 0x32);
    const file = encodeFile(header({ commit: 3, min: 2, timestampMs: 2000, ...fields }), [
      [1, page32, literalBlock(page32)],
      [3, ramp, literalBlock(ramp)],
    ]);
    expect(file.length).toBe(1190);
    expect(file.subarray(-40)).toEqual(
      hex("000000000000 01648d04 03f1048d04 00 000000000000000a 0000000000000000 ab8fee54b1603cb7"),
    );
  });

  test("G5: no pages", () => {
    const file = encodeFile(header({ min: 2, timestampMs: 2000 }), []);
    expect(file.length).toBe(131);
    expect(file.subarray(-8)).toEqual(hex("d618a9a308e0e3b8"));
  });
});

describe("decoder", () => {
  const g1 = encodeFile(header(), [[1, page31, literalBlock(page31)]]);
  const g4 = encodeFile(header({ commit: 3, min: 2 }), [
    [1, filled(512, 0x32)],
    [3, ramp],
  ]);

  test.each([
    ["G1", g1, new Map([[1, page31]])],
    ["G2", g2, new Map([[1, page31]])],
    [
      "G3",
      g3,
      new Map([
        [1, page31],
        [2, filled(512, 0x32)],
      ]),
    ],
    [
      "G4",
      g4,
      new Map([
        [1, filled(512, 0x32)],
        [3, ramp],
      ]),
    ],
    ["G5", encodeFile(header({ min: 2 }), []), new Map()],
  ])("reads %s, in one piece and byte by byte", (_, file, pages) => {
    const decoded = decodeFile(file);
    expect(decoded.pages).toEqual(pages);
    expect(decoded.verdict).toMatchObject({ size: file.length, pageCount: pages.size });
    expect(decodeFile(file, [1])).toEqual(decoded);
  });

  test("reads blocks and frames in one file", () => {
    const both = concat([g2.subarray(0, 134), g3.subarray(149, 198)]);
    both.set(hex("00000002"), 12);
    const { pages } = decodePagesOnly(both);
    expect(pages).toEqual([1, 2]);
  });
});

/** What a file's beginning holds, without its end. */
function decodePagesOnly(bytes: Uint8Array): { pages: number[] } {
  const decoder = new LtxDecoder();
  decoder.push(bytes);
  const pages: number[] = [];
  for (let page = decoder.readPage(); page !== undefined; page = decoder.readPage()) {
    pages.push(page.pgno);
  }
  return { pages };
}
