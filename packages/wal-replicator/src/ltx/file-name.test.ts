import { expect, test } from "vitest";
import { formatFileName, parseFileName } from "./file-name.ts";
import { toTxid } from "./txid.ts";

test("a name is written and read back", () => {
  const range = { minTxid: toTxid(1), maxTxid: toTxid(0xabcdef) };
  expect(formatFileName(range)).toBe("0000000000000001-0000000000abcdef.ltx");
  expect(parseFileName(formatFileName(range))).toEqual(range);
});

test.each([
  "0000000000000001-0000000000000001.ltx.tmp",
  "x0000000000000001-0000000000000001.ltx",
  "0000000000000001-0000000000ABCDEF.ltx",
  "0000000000000001-00000000000000001.ltx",
  "0000000000000001-0000000000000001_ltx",
  "0000000000000001-0000000000000001.ltx\n",
  "0000000000000000-0000000000000001.ltx",
  "0000000000000002-0000000000000001.ltx",
  "0000000000000001-ffffffffffffffff.ltx",
  "../0000000000000001-0000000000000001.ltx",
  "",
])("%j is not a name", (name) => {
  expect(parseFileName(name)).toBeUndefined();
});
