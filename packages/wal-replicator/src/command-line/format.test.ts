import { expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { formatBytes, formatDuration, toJson } from "./format.ts";

it.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [1536, "1.5 KiB"],
  [1024 ** 2 - 1, "1.0 MiB"],
  [5 * 1024 ** 3, "5.0 GiB"],
  [3000 * 1024 ** 4, "3000.0 TiB"],
])("%d bytes are %s", (bytes, expected) => {
  expect(formatBytes(bytes)).toBe(expected);
});

it.each([
  [0, "0 ms"],
  [350, "350 ms"],
  [999.7, "1.0 s"],
  [2_400, "2.4 s"],
  [59_960, "1 min"],
  [200_000, "3 min 20 s"],
  [7_500_000, "2 h 5 min"],
  [273_600_000, "3 d 4 h"],
])("%d ms are %s", (ms, expected) => {
  expect(formatDuration(ms)).toBe(expected);
});

it("JSON has TXIDs as 16 hex digits and times as RFC 3339 in UTC", () => {
  expect(toJson({ txid: toTxid(43n), at: new Date(0), none: null })).toBe(
    '{"txid":"000000000000002b","at":"1970-01-01T00:00:00.000Z","none":null}',
  );
});
