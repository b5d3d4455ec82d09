import { expect, test } from "vitest";
import {
  blockFrameOverhead,
  readPageHeader,
  readU32,
  writeBlockFrameHeader,
} from "./page-frame.ts";
import { hex } from "./testing.ts";

test("a header is written and read back, up to the highest page", () => {
  const bytes = new Uint8Array(blockFrameOverhead + 1);
  writeBlockFrameHeader(bytes, 1, 0xfffffffe, 515);
  expect(bytes).toEqual(hex("00 fffffffe 0001 00000203"));
  expect(readPageHeader(bytes, 1, 0)).toEqual({ pgno: 0xfffffffe, hasSize: true });
  expect(readU32(bytes, 7)).toBe(515);
});

test("a frame without size, and the end of the pages", () => {
  expect(readPageHeader(hex("00000007 0000"), 0, 0)).toEqual({ pgno: 7, hasSize: false });
  expect(readPageHeader(hex("00000000 0000"), 0, 0)).toEqual({ pgno: 0, hasSize: false });
});

test.each(["00000001 0002", "00000001 0003", "00000001 8000", "00000000 0001"])(
  "%s is refused",
  (bytes) => {
    expect(() => readPageHeader(hex(bytes), 0, 100)).toThrow(
      expect.objectContaining({ code: "LTX_BAD_PAGE", offset: 100 }),
    );
  },
);
