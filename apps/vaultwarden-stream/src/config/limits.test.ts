import { expect, it } from "vitest";
import { parseBytes } from "./bytes.ts";
import { readConfig } from "./config.ts";
import type { Environment } from "./environment.ts";

function read(environment: Environment) {
  const { config, errors, warnings } = readConfig({ STORE_DIR: "/s", ...environment }, () => "");
  return { limits: config?.limits, errors, warnings };
}

it.each<[string, number | undefined]>([
  ["10M", 10 * 2 ** 20],
  ["512k", 512 * 1_024],
  ["1.5G", 1.5 * 2 ** 30],
  ["2GiB", 2 * 2 ** 30],
  ["100 kB", 102_400],
  ["7", 7],
  ["7B", 7],
  ["off", Number.POSITIVE_INFINITY],
  ["0", Number.POSITIVE_INFINITY],
  ["", undefined],
  ["-1", undefined],
  ["1.5", 2],
  ["10 apples", undefined],
  ["1e3", undefined],
  ["99999999999999T", undefined],
])("%s is %s bytes", (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

it("has no limits of its own: the budgets are derived, and the rate is none", () => {
  expect(read({})).toEqual({ limits: {}, errors: [], warnings: [] });
});

it("takes the limits that are given", () => {
  const { limits, errors, warnings } = read({
    STORE_UPLOAD_RATE_MAX: "10M",
    STORE_HOURLY_BYTES_MAX: "50G",
    STORE_HOURLY_OBJECTS_MAX: "off",
  });
  expect({ errors, warnings }).toEqual({ errors: [], warnings: [] });
  expect(limits).toEqual({
    bytesPerSecond: 10 * 2 ** 20,
    hourlyBytesMax: 50 * 2 ** 30,
    hourlyObjectsMax: Number.POSITIVE_INFINITY,
  });
});

it.each([
  ["STORE_UPLOAD_RATE_MAX", "fast"],
  ["STORE_UPLOAD_RATE_MAX", "100k"],
  ["STORE_HOURLY_BYTES_MAX", "lots"],
  ["STORE_HOURLY_OBJECTS_MAX", "1.5"],
])("refuses %s=%s", (name, text) => {
  const { errors } = read({ [name]: text });
  expect(errors).toMatchObject([{ name, value: text }]);
});

it.each([
  [{ RCLONE_FLAGS: "--bwlimit 10M" }, 10 * 2 ** 20],
  [{ RCLONE_FLAGS: "--bwlimit=512" }, 512 * 1_024],
  [{ RCLONE_FLAGS: "--bwlimit=1M:500k" }, 2 ** 20],
  [{ RCLONE_BWLIMIT: "2M" }, 2 * 2 ** 20],
  [{ RCLONE_BWLIMIT: "off" }, Number.POSITIVE_INFINITY],
  [{ RCLONE_BWLIMIT: "2M", STORE_UPLOAD_RATE_MAX: "2M" }, 2 * 2 ** 20],
])("honours rclone's limit: %j", (environment, bytesPerSecond) => {
  const { limits, errors, warnings } = read(environment);
  expect({ errors, warnings }).toEqual({ errors: [], warnings: [] });
  expect(limits).toEqual({ bytesPerSecond });
});

it("raises a rate of rclone's that no store waits for, and says so", () => {
  const { limits, warnings } = read({ RCLONE_FLAGS: "--bwlimit 64k" });
  expect(limits).toEqual({ bytesPerSecond: 128 * 1_024 });
  expect(warnings).toMatchObject([{ name: "RCLONE_FLAGS", value: "64k" }]);
});

it("says that a timetable is not followed, and which other flags have no effect", () => {
  const timetable = read({ RCLONE_BWLIMIT: "08:00,512k 12:00,10M" });
  expect(timetable.limits).toEqual({});
  expect(timetable.warnings).toMatchObject([{ name: "RCLONE_BWLIMIT" }]);
  const others = read({ RCLONE_FLAGS: "--bwlimit 10M --transfers 4" });
  expect(others.limits).toEqual({ bytesPerSecond: 10 * 2 ** 20 });
  expect(others.warnings).toMatchObject([
    { name: "RCLONE_FLAGS", reason: expect.stringContaining("but for --bwlimit") },
  ]);
});

it("refuses two names that say different things", () => {
  const { errors } = read({ RCLONE_BWLIMIT: "2M", STORE_UPLOAD_RATE_MAX: "3M" });
  expect(errors).toMatchObject([{ name: "RCLONE_BWLIMIT" }]);
});
