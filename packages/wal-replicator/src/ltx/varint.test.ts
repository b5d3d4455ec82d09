import { expect, test } from "vitest";
import { VarintReader, writeVarint } from "./varint.ts";

function write(value: number): Uint8Array {
  const target = new Uint8Array(10);
  return target.subarray(0, writeVarint(target, 0, value));
}

function read(bytes: Iterable<number>): number | "more" | "invalid" {
  const reader = new VarintReader();
  let result: number | "more" | "invalid" = "more";
  for (const byte of bytes) result = reader.push(byte);
  return result;
}

test.each([
  [0, [0]],
  [127, [0x7f]],
  [128, [0x80, 1]],
  [525, [0x8d, 4]],
  [2 ** 31, [0x80, 0x80, 0x80, 0x80, 8]],
  [2 ** 53 - 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]],
])("%i is written and read back", (value, bytes) => {
  expect([...write(value)]).toEqual(bytes);
  expect(read(bytes)).toBe(value);
});

test("values above 2^53 - 1 are invalid", () => {
  expect(read([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10])).toBe("invalid");
});

test("a varint that does not end within 10 bytes is invalid", () => {
  expect(read(new Uint8Array(9).fill(0x80))).toBe("more");
  expect(read(new Uint8Array(10).fill(0x80))).toBe("invalid");
});

test("one reader reads one after the other", () => {
  const reader = new VarintReader();
  expect([0x8d, 4, 1].map((byte) => reader.push(byte))).toEqual(["more", 525, 1]);
});
