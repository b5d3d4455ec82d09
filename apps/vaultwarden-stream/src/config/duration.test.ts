import { expect, it } from "vitest";
import { parseDurationMs, parseSecondsMs } from "./duration.ts";

it.each([
  ["0", 0],
  ["500ms", 500],
  ["1s", 1_000],
  ["1.5s", 1_500],
  ["1h30m", 5_400_000],
  ["2d", 172_800_000],
  ["365d", 31_536_000_000],
])("reads %s", (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

it.each(["", "5", "1 s", "s", "-1s", "1h 30m", "1w", "1e3s", "99999999999999999999d"])(
  "refuses %j as a duration",
  (text) => {
    expect(parseDurationMs(text)).toBeUndefined();
  },
);

it("counts a plain integer in seconds only where it may", () => {
  expect(parseSecondsMs("30")).toBe(30_000);
  expect(parseSecondsMs("1m")).toBe(60_000);
  expect(parseSecondsMs("1.5")).toBeUndefined();
});
