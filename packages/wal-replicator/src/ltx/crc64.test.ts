import { describe, expect, test } from "vitest";
import { Crc64, PageHasher } from "./crc64.ts";
import { checksumPage } from "./page-checksum.ts";

function crcOf(bytes: Uint8Array): string {
  const crc = new Crc64();
  crc.update(bytes);
  return crc.toBigInt().toString(16).padStart(16, "0");
}

/** Bit by bit, from the definition alone. */
function slowCrc(bytes: Uint8Array): bigint {
  let register = 2n ** 64n - 1n;
  for (const byte of bytes) {
    register ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) {
      register = register & 1n ? (register >> 1n) ^ 0xd800000000000000n : register >> 1n;
    }
  }
  return register ^ (2n ** 64n - 1n);
}

function noise(length: number, seed = 1): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    return state >>> 16;
  });
}

describe("Crc64", () => {
  test.each([
    ["nothing", new Uint8Array(), "0000000000000000"],
    ["123456789", new TextEncoder().encode("123456789"), "b90956c775a41001"],
    ["one zero byte", new Uint8Array(1), "6f90000000000000"],
    ["8 times ff", new Uint8Array(8).fill(0xff), "ffffffffffffffff"],
    ["512 zero bytes", new Uint8Array(512), "7cd9900000000000"],
  ])("gives the vector of %s", (_, bytes, expected) => {
    expect(crcOf(bytes)).toBe(expected);
  });

  test("equals the bitwise definition at every length and alignment", () => {
    const bytes = noise(200);
    for (let start = 0; start < 9; start++) {
      for (let length = 0; length < 150; length++) {
        const crc = new Crc64();
        crc.update(bytes, start, start + length);
        expect(crc.toBigInt()).toBe(slowCrc(bytes.subarray(start, start + length)));
      }
    }
  });

  test("does not depend on how the input is split", () => {
    const bytes = noise(1000);
    for (const piece of [1, 7, 31, 32, 33, 999]) {
      const crc = new Crc64();
      for (let at = 0; at < bytes.length; at += piece) {
        crc.update(bytes, at, Math.min(at + piece, bytes.length));
      }
      expect(crc.toBigInt()).toBe(slowCrc(bytes));
    }
  });
});

describe("PageHasher", () => {
  test.each([512, 1024, 2048, 4096, 8192, 16384, 32768, 65536])(
    "gives both checksums of %i-byte pages from one reading",
    (pageSize) => {
      const hasher = new PageHasher(pageSize);
      const file = new Crc64();
      const plain = new Crc64();
      for (const [index, pgno] of [1, 2, 0xfffffffe].entries()) {
        const prefix = noise(10, index);
        const page = noise(pageSize, pgno);
        file.update(prefix);
        plain.update(prefix);
        hasher.hash(file, pgno, page);
        plain.update(page);
        expect(file.toBigInt()).toBe(plain.toBigInt());
        expect({ low: hasher.low, high: hasher.high }).toEqual(checksumPage(pgno, page));
      }
    },
  );
});
