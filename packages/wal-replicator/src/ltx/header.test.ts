import { describe, expect, test } from "vitest";
import { FormatError, InvariantError } from "../errors.ts";
import { decodeHeader, encodeHeader, type LtxHeaderFields } from "./header.ts";
import { header, hex } from "./testing.ts";
import { type Txid, toTxid } from "./txid.ts";

const g4Start = hex(
  "4c545831 00000002 00000200 00000003 0000000000000002 0000000000000002 00000000000007d0 0000000000000000 " +
    "0000000000000020 0000000000000430 01020304 05060708 0000000000000000",
);
const g4: LtxHeaderFields = {
  ...header({ commit: 3, min: 2, timestampMs: 2000 }),
  walOffset: 32,
  walSize: 1072,
  walSalt1: 0x01020304,
  walSalt2: 0x05060708,
};

/** G4's header with `bytes` at `offset`. */
function changed(offset: number, bytes: string): Uint8Array {
  const result = encodeHeader(g4);
  result.set(hex(bytes), offset);
  return result;
}

describe("encodeHeader", () => {
  test("writes every field where the format has it", () => {
    const bytes = encodeHeader(g4);
    expect(bytes.length).toBe(100);
    expect(bytes.subarray(0, 80)).toEqual(g4Start);
    expect(bytes.subarray(80)).toEqual(new Uint8Array(20));
  });

  test.each<[string, Partial<LtxHeaderFields>]>([
    ["page size", { pageSize: 513 }],
    ["page size", { pageSize: 256 }],
    ["page size", { pageSize: 131072 }],
    ["commit", { commit: 0 }],
    ["commit", { commit: 2 ** 32 }],
    ["TXIDs", { minTxid: toTxid(3) }],
    ["timestamp", { timestampMs: 1.5 }],
    ["WAL position", { walOffset: -1 }],
    ["WAL fields without walOffset", { walOffset: 0 }],
    ["WAL salts", { walSalt1: 2 ** 32 }],
  ])("refuses a bad %s (%#)", (what, fields) => {
    expect(() => encodeHeader({ ...g4, ...fields })).toThrow(InvariantError);
    expect(() => encodeHeader({ ...g4, ...fields })).toThrow(what);
  });

  test("refuses TXID 0", () => {
    expect(() => encodeHeader({ ...g4, minTxid: 0n as Txid })).toThrow(RangeError);
  });
});

describe("decodeHeader", () => {
  test("reads back what was written", () => {
    expect(decodeHeader(encodeHeader(g4))).toEqual({
      ...g4,
      hasChecksums: false,
      preApplyChecksum: 0n,
      nodeId: 0n,
    });
  });

  test("reads page size 65536, a negative timestamp, node id and reserved bytes", () => {
    expect(decodeHeader(changed(8, "00010000")).pageSize).toBe(65536);
    expect(decodeHeader(changed(32, "ffffffffffffffff")).timestampMs).toBe(-1);
    expect(decodeHeader(changed(72, "0000000000000007")).nodeId).toBe(7n);
    expect(decodeHeader(changed(80, "ff")).commit).toBe(3);
  });

  test("accepts a file with database checksums", () => {
    const bytes = changed(4, "00000000");
    bytes.set(hex("8000000000000001"), 40);
    expect(decodeHeader(bytes)).toMatchObject({
      hasChecksums: true,
      preApplyChecksum: 0x8000000000000001n,
    });
  });

  test.each([
    ["LTX_TRUNCATED", 0, "4c545832"],
    ["LTX_BAD_HEADER", 4, "00000003"],
    ["LTX_BAD_HEADER", 4, "00000000"],
    ["LTX_BAD_HEADER", 4, "80000002"],
    ["LTX_BAD_HEADER", 8, "00000000"],
    ["LTX_BAD_HEADER", 8, "00000100"],
    ["LTX_BAD_HEADER", 8, "00000201"],
    ["LTX_BAD_HEADER", 8, "00020000"],
    ["LTX_BAD_HEADER", 8, "80000000"],
    ["LTX_BAD_HEADER", 12, "00000000"],
    ["LTX_BAD_HEADER", 16, "0000000000000000"],
    ["LTX_BAD_HEADER", 16, "0000000000000003"],
    ["LTX_BAD_HEADER", 24, "0020000000000000"],
    ["LTX_BAD_HEADER", 24, "ffffffffffffffff"],
    ["LTX_BAD_HEADER", 32, "7fffffffffffffff"],
    ["LTX_BAD_HEADER", 40, "8000000000000001"],
    ["LTX_BAD_HEADER", 48, "ffffffffffffffff"],
    ["LTX_BAD_HEADER", 48, "0000000000000000"],
    ["LTX_BAD_HEADER", 56, "ffffffffffffffff"],
  ])("gives %s for byte %i changed to %s", (code, offset, bytes) => {
    expect(() => decodeHeader(changed(offset, bytes))).toThrow(FormatError);
    expect(() => decodeHeader(changed(offset, bytes))).toThrow(expect.objectContaining({ code }));
  });
});
