import { expect, test } from "vitest";
import { FormatError } from "../errors.ts";
import { addToSums } from "./wal-checksum.ts";
import { decodeWalHeader, encodeWalHeader, type WalHeader } from "./wal-header.ts";

const fields = {
  pageSize: 4096,
  sequence: 0,
  salt: { salt1: 0x01020304, salt2: 0x05060708 },
} as const;
const littleEndian: WalHeader = {
  ...fields,
  order: "little-endian",
  sums: { s0: 0xd8ea0514, s1: 0x98d8e2be },
};
const bigEndian: WalHeader = {
  ...fields,
  order: "big-endian",
  sums: { s0: 0x1706e9db, s1: 0xc2e5d89c },
};

/** A header with one field changed and the sums made right again. */
function resummed(offset: number, value: number): Uint8Array {
  const bytes = encodeWalHeader(littleEndian);
  const view = new DataView(bytes.buffer);
  view.setUint32(offset, value);
  const sums = { s0: 0, s1: 0 };
  addToSums(sums, view, 0, 24, "little-endian");
  view.setUint32(24, sums.s0);
  view.setUint32(28, sums.s1);
  return bytes;
}

function codeFor(bytes: Uint8Array): string {
  try {
    decodeWalHeader(bytes);
  } catch (error) {
    if (error instanceof FormatError) return `${error.code} at ${error.offset}`;
    throw error;
  }
  throw new Error("it was decoded");
}

test.each([littleEndian, bigEndian])(
  "a header with $order sums has the known sums and reads back",
  (header) => {
    expect(decodeWalHeader(encodeWalHeader(header))).toEqual(header);
  },
);

test("a header in the middle of a larger buffer is read", () => {
  const bytes = new Uint8Array(100);
  bytes.set(encodeWalHeader(littleEndian), 33);
  expect(decodeWalHeader(bytes.subarray(33))).toEqual(littleEndian);
});

test("a header of zeros is torn", () => {
  expect(decodeWalHeader(new Uint8Array(32))).toBe("torn");
});

test("a header cut anywhere is torn", () => {
  const bytes = encodeWalHeader(littleEndian);
  for (let length = 0; length < 32; length++) {
    expect(decodeWalHeader(bytes.subarray(0, length))).toBe("torn");
    // A file that was extended, but not written yet.
    const extended = new Uint8Array(32);
    extended.set(bytes.subarray(0, length));
    expect(decodeWalHeader(extended)).toBe("torn");
  }
});

test("a header with any bit flipped is torn, also in its magic", () => {
  for (const header of [littleEndian, bigEndian]) {
    for (let bit = 0; bit < 32 * 8; bit++) {
      const bytes = encodeWalHeader(header);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(decodeWalHeader(bytes)).toBe("torn");
    }
  }
});

test("an intact header of another program is an error", () => {
  expect(codeFor(resummed(0, 0x377f0684))).toBe("WAL_BAD_MAGIC at 0");
  // The magic of the other byte order over sums of this one.
  expect(codeFor(resummed(0, 0x377f0683))).toBe("WAL_BAD_MAGIC at 0");
  expect(codeFor(resummed(4, 3_007_001))).toBe("WAL_UNSUPPORTED_VERSION at 4");
  for (const pageSize of [0, 256, 1000, 131_072]) {
    expect(codeFor(resummed(8, pageSize))).toBe("WAL_BAD_PAGE_SIZE at 8");
  }
});
