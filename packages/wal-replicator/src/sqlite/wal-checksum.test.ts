import fc from "fast-check";
import { expect, test } from "vitest";
import { addToSums, type ByteOrder } from "./wal-checksum.ts";

/** The definition in `wal.c`, word by word, in exact arithmetic. */
function sumsByDefinition(bytes: Uint8Array, order: ByteOrder): { s0: number; s1: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let s0 = 0n;
  let s1 = 0n;
  for (let offset = 0; offset < bytes.length; offset += 8) {
    s0 = (s0 + BigInt(view.getUint32(offset, order === "little-endian")) + s1) % 2n ** 32n;
    s1 = (s1 + BigInt(view.getUint32(offset + 4, order === "little-endian")) + s0) % 2n ** 32n;
  }
  return { s0: Number(s0), s1: Number(s1) };
}

const orders = fc.constantFrom<ByteOrder>("little-endian", "big-endian");

test("the sums are those of the definition, at any alignment and in any steps", () => {
  fc.assert(
    fc.property(
      orders,
      fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 40 }),
      fc.nat(7),
      fc.nat(40),
      (order, pairs, shift, split) => {
        const bytes = new Uint8Array(shift + pairs.length * 8);
        for (const [index, pair] of pairs.entries()) bytes.set(pair, shift + index * 8);
        const view = new DataView(bytes.buffer);
        const sums = { s0: 0, s1: 0 };
        const middle = shift + Math.min(split, pairs.length) * 8;
        addToSums(sums, view, shift, middle, order);
        addToSums(sums, view, middle, bytes.length, order);
        expect(sums).toEqual(sumsByDefinition(bytes.subarray(shift), order));
      },
    ),
  );
});
