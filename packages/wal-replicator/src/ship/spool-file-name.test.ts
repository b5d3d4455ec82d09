import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { formatSpoolFileName, parseSpoolFileName, type SpoolFileName } from "./spool-file-name.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const plain = fc.record({
  minTxid: fc.constant(toTxid(1n)),
  maxTxid: fc.bigInt({ min: 1n, max: 2n ** 53n - 1n }).map(toTxid),
  pageSize: fc.constantFrom(512, 4096, 65536),
  pageCount: u32,
  rollingChecksum: fc
    .bigInt({ min: 0n, max: 2n ** 64n - 1n })
    .map((value) => value.toString(16).padStart(16, "0")),
  walPosition: fc.option(
    fc.record({
      salt: fc.record({ salt1: u32, salt2: u32 }),
      frameCount: u32,
      sums: fc.record({ s0: u32, s1: u32 }),
    }),
    { nil: undefined },
  ),
  state: fc.constantFrom("waiting" as const, "stored" as const),
});
const merged = fc
  .tuple(plain, fc.bigInt({ min: 1n, max: 2n ** 52n }), fc.bigInt({ min: 1n, max: 2n ** 52n - 1n }))
  .map(([name, value, more]) => {
    const txid = toTxid(value);
    const mergedThrough = toTxid(value + more);
    return { ...name, minTxid: txid, maxTxid: txid, mergedThrough, state: "waiting" as const };
  });
const names: fc.Arbitrary<SpoolFileName> = fc.oneof(plain, merged);

describe("name of a spool file", () => {
  it("parses to what it was formatted from", () => {
    fc.assert(
      fc.property(names, (name) => {
        expect(parseSpoolFileName(formatSpoolFileName(name))).toEqual(name);
      }),
    );
  });

  it.each(["capture.tmp", "0000000000000001-0000000000000001.ltx", "", "x".repeat(300)])(
    "passes over %j",
    (text) => {
      expect(parseSpoolFileName(text)).toBeUndefined();
    },
  );

  it("passes over a merge of anything but waiting files behind one TXID", () => {
    const name = {
      minTxid: toTxid(3n),
      maxTxid: toTxid(3n),
      mergedThrough: toTxid(9n),
      pageSize: 4096,
      pageCount: 1,
      rollingChecksum: "8000000000000000",
      walPosition: undefined,
      state: "waiting" as const,
    };
    const parsed = (change: Partial<SpoolFileName>): SpoolFileName | undefined =>
      parseSpoolFileName(formatSpoolFileName({ ...name, ...change }));
    expect(parsed({})).toEqual(name);
    expect(parsed({ maxTxid: toTxid(4n) })).toBeUndefined();
    expect(parsed({ state: "stored" })).toBeUndefined();
    expect(parsed({ mergedThrough: toTxid(3n) })).toBeUndefined();
  });

  it("passes over a range that runs backwards", () => {
    const name = formatSpoolFileName({
      minTxid: toTxid(3n),
      maxTxid: toTxid(2n),
      pageSize: 4096,
      pageCount: 1,
      rollingChecksum: "8000000000000000",
      walPosition: undefined,
      state: "waiting",
    });
    expect(parseSpoolFileName(name)).toBeUndefined();
  });
});
