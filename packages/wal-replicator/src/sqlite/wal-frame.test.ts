import { expect, test } from "vitest";
import { addFrameToSums, decodeFrameHeader, frameOffset, walFrameBytes } from "./wal-frame.ts";

/** Page size 4096, page `00` to `ff` 16 times, behind a header of salts 01020304 05060708. */
const vectors = [
  { order: "little-endian", from: [0xd8ea0514, 0x98d8e2be], sums: [0x4e0886f0, 0xce9cd782] },
  { order: "big-endian", from: [0x1706e9db, 0xc2e5d89c], sums: [0x3f866177, 0xf2bca4da] },
] as const;

test.each(vectors)("a frame has the known $order sums", ({ order, from, sums }) => {
  const frame = new Uint8Array(walFrameBytes(4096)).map((_, index) => index - 24);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 1);
  view.setUint32(4, 1);
  const running = { s0: from[0], s1: from[1] };
  addFrameToSums(running, view, 0, 4096, order);
  expect(running).toEqual({ s0: sums[0], s1: sums[1] });
});

test("a frame header is read from big-endian fields at its offset", () => {
  const view = new DataView(new ArrayBuffer(40));
  for (const [index, value] of [1, 0xfffffffe, 3, 4, 5, 0x80000006].entries()) {
    view.setUint32(16 + index * 4, value);
  }
  expect(decodeFrameHeader(view, 16)).toEqual({
    pgno: 1,
    commit: 0xfffffffe,
    salt: { salt1: 3, salt2: 4 },
    sums: { s0: 5, s1: 0x80000006 },
  });
  expect(() => decodeFrameHeader(view, 17)).toThrow(RangeError);
});

test("frames follow the header of 32 bytes without gaps, also beyond 4 GiB", () => {
  expect(frameOffset(0, 4096)).toBe(32);
  expect(frameOffset(1, 4096)).toBe(32 + 4120);
  expect(frameOffset(2_000_000, 65_536)).toBe(32 + 2_000_000 * 65_560);
});
