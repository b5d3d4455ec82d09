import { compressSync, uncompressSync } from "lz4-napi";
import { describe, expect, test } from "vitest";
import { FormatError } from "../errors.ts";
import { BlockCompressor, BlockDecompressor, blockBytesMax, readLz4Frame } from "./lz4-block.ts";
import { concat, filled, hex, literalBlock } from "./testing.ts";

function compress(compressor: BlockCompressor, page: Uint8Array): Uint8Array {
  const target = new Uint8Array(blockBytesMax(page.length) + 8);
  return target.subarray(8, compressor.compress(page, target, 8));
}

/** By the native decoder, an independent implementation. */
function referenceDecompress(block: Uint8Array, pageSize: number): Uint8Array {
  const prefixed = concat([new Uint8Array(4), block]);
  new DataView(prefixed.buffer).setUint32(0, pageSize, true);
  return new Uint8Array(uncompressSync(prefixed));
}

function decompress(block: Uint8Array, pageSize = 512): Uint8Array {
  const page = new Uint8Array(pageSize);
  new BlockDecompressor(pageSize).decompress(block, page, 7);
  return page;
}

/** Pages of every mixture of noise, runs, and repetitions of what came before. */
function* samplePages(pageSize: number): Generator<Uint8Array> {
  let state = pageSize;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  yield new Uint8Array(pageSize);
  yield Uint8Array.from({ length: pageSize }, () => random(256));
  yield Uint8Array.from({ length: pageSize }, () => random(2));
  yield Uint8Array.from({ length: pageSize }, (_, index) => index);
  for (let round = 0; round < 60; round++) {
    const page = new Uint8Array(pageSize);
    for (let at = 0; at < pageSize; ) {
      const length = Math.min(1 + random(random(2) === 0 ? 12 : 700), pageSize - at);
      const kind = random(3);
      if (kind === 0 || at === 0)
        for (let index = 0; index < length; index++) page[at + index] = random(256);
      else {
        const distance = kind === 1 ? 1 + random(Math.min(at, 4)) : 1 + random(at);
        for (let index = 0; index < length; index++)
          page[at + index] = page[at + index - distance] as number;
      }
      at += length;
    }
    yield page;
  }
}

describe("BlockCompressor", () => {
  test.each([512, 4096, 65536])(
    "what it makes of %i-byte pages, two decoders turn back",
    (pageSize) => {
      const compressor = new BlockCompressor();
      for (const page of samplePages(pageSize)) {
        const block = compress(compressor, page);
        expect(Buffer.compare(referenceDecompress(block, pageSize), page)).toBe(0);
        expect(Buffer.compare(decompress(block, pageSize), page)).toBe(0);
        // Close to the native compressor, whose matches differ a little.
        expect(block.length).toBeLessThanOrEqual(blockBytesMax(pageSize));
        expect(block.length).toBeLessThan((compressSync(Buffer.from(page)).length - 4) * 1.2 + 32);
      }
    },
  );

  test("a page does not depend on those before it", () => {
    const compressor = new BlockCompressor();
    for (const page of samplePages(512)) {
      expect(compress(compressor, page)).toEqual(compress(new BlockCompressor(), page));
    }
  });

  test.each([
    [512, 530],
    [4096, 4128],
    [65536, 65809],
  ])("%i-byte pages have blocks of at most %i bytes", (pageSize, expected) => {
    expect(blockBytesMax(pageSize)).toBe(expected);
  });
});

describe("BlockDecompressor", () => {
  const page = Uint8Array.from({ length: 512 }, (_, index) => index * 7);

  test("reads a block of literals only", () => {
    expect(decompress(literalBlock(page))).toEqual(page);
  });

  test("repeats a match that reaches into itself", () => {
    const block = hex(`1f310100ffda000200000200b0${"31".repeat(11)}`);
    expect(decompress(block)).toEqual(filled(512, 0x31));
  });

  test("reads what the native compressor makes", () => {
    for (const sample of samplePages(4096)) {
      const native = new Uint8Array(compressSync(Buffer.from(sample)));
      expect(Buffer.compare(decompress(native.subarray(4), 4096), sample)).toBe(0);
    }
  });

  test("takes a broken block for nothing else than the library does", () => {
    const mixed = concat([filled(100, 7), Uint8Array.from({ length: 312 }, (_, i) => i * i * 7)]);
    // Of few sequences, so that it is our own code that reads it.
    const sample = concat([mixed, mixed.subarray(50, 150)]);
    const block = compress(new BlockCompressor(), sample);
    let accepted = 0;
    for (let at = 0; at < block.length; at++) {
      for (let value = 0; value < 256; value++) {
        const broken = block.slice();
        broken[at] = value;
        let expected: Uint8Array | undefined;
        try {
          expected = referenceDecompress(broken, 512);
        } catch {
          // The library refuses it.
        }
        let found: Uint8Array | undefined;
        try {
          found = decompress(broken);
          accepted += 1;
        } catch {
          // And so do we.
        }
        if (expected?.length !== 512) expected = undefined;
        if (found === undefined || expected === undefined) expect(found).toBe(expected);
        else expect(Buffer.compare(found, expected)).toBe(0);
      }
    }
    // The block as it is, and with other literals.
    expect(accepted).toBeGreaterThan(1000);
  });

  test("touches nothing outside of the page, whatever byte is wrong", () => {
    const room = new Uint8Array(512 + 64);
    const block = compress(
      new BlockCompressor(),
      Uint8Array.from({ length: 512 }, (_, i) => i % 50),
    );
    for (let at = 0; at < block.length; at++) {
      for (const value of [0, 1, 0x0f, 0x10, 0xf0, 0xff]) {
        const broken = block.slice();
        broken[at] = value;
        room.fill(0xee);
        try {
          new BlockDecompressor(512).decompress(broken, room.subarray(32, 32 + 512), 7);
        } catch (error) {
          expect(error).toMatchObject({ code: "LTX_BAD_PAGE", offset: 7 });
        }
        expect(room.subarray(0, 32)).toEqual(filled(32, 0xee));
        expect(room.subarray(-32)).toEqual(filled(32, 0xee));
      }
    }
  });

  test.each([
    ["nothing", new Uint8Array()],
    ["less than a page", literalBlock(page.subarray(0, 511))],
    ["more than a page", literalBlock(concat([page, page.subarray(0, 1)]))],
    ["a page and a byte", concat([literalBlock(page), Uint8Array.of(0)])],
    ["a page that lacks a byte", literalBlock(page).subarray(0, -1)],
    ["an offset before the page", hex("1031 0200 0f")],
    ["offset 0", hex("1031 0000 0f")],
    ["a length that goes on", new Uint8Array(530).fill(0xff)],
  ])("refuses %s", (_, block) => {
    expect(() => decompress(block)).toThrow(FormatError);
    expect(() => decompress(block)).toThrow(
      expect.objectContaining({ code: "LTX_BAD_PAGE", offset: 7 }),
    );
  });
});

describe("readLz4Frame", () => {
  const start = "04224d186440a7";
  const frame = hex(`${start} 18000000 ${"ab".repeat(24)} 00000000 5e2d2198`);
  const read = (bytes: Uint8Array, pageSize = 512): unknown =>
    readLz4Frame(bytes, 0, bytes.length, pageSize, 100);

  test("finds the block", () => {
    expect(read(frame)).toEqual({ start: 11, end: 35, isStored: false, length: 43 });
  });

  test("finds a stored page", () => {
    const stored = hex(`${start} 00020080 ${"ab".repeat(512)} 00000000 5e2d2198`);
    expect(read(stored)).toEqual({ start: 11, end: 523, isStored: true, length: 531 });
  });

  test("asks for more at every cut", () => {
    for (let length = 0; length < frame.length; length++) {
      expect(read(frame.subarray(0, length))).toBeUndefined();
    }
  });

  test.each([
    ["another magic", hex("05")],
    ["another descriptor", hex("04224d186040a7")],
    ["no block", hex(`${start} 00000000`)],
    ["a block larger than a page can be", hex(`${start} 13020000`)],
    ["a stored block of another size", hex(`${start} ff010080`)],
    ["a second block", concat([frame.subarray(0, 35), hex("01000000 00000000")])],
  ])("refuses %s before more is read", (_, bytes) => {
    expect(() => read(bytes)).toThrow(expect.objectContaining({ code: "LTX_BAD_PAGE" }));
  });

  test("refuses a block beyond 64 KiB", () => {
    expect(() => read(hex(`${start} 01000100`), 65536)).toThrow(FormatError);
  });
});
