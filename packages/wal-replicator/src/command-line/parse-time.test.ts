import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CommandError } from "./command-error.ts";
import { parseDuration, parseTime } from "./parse-time.ts";

const nowMs = Date.UTC(2026, 10, 24, 21, 37, 1, 250);

describe("a time that names a moment", () => {
  it.each([
    ["2026-11-24T21:37:00Z", "2026-11-24T21:37:00.000Z"],
    ["2026-11-24t21:37:00z", "2026-11-24T21:37:00.000Z"],
    ["2026-11-24 21:37:00Z", "2026-11-24T21:37:00.000Z"],
    ["2026-11-24T21:37Z", "2026-11-24T21:37:00.000Z"],
    ["2026-11-24T21:37:00.5Z", "2026-11-24T21:37:00.500Z"],
    ["2026-11-24T21:37:00.123456789Z", "2026-11-24T21:37:00.123Z"],
    ["2026-11-24T23:37:00+02:00", "2026-11-24T21:37:00.000Z"],
    ["2026-11-24T16:07:00-05:30", "2026-11-24T21:37:00.000Z"],
    ["2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"],
  ])("reads %s", (text, expected) => {
    expect(parseTime(text, nowMs).toISOString()).toBe(expected);
  });

  it("reads every time that Date writes", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true }),
        (date) => {
          expect(parseTime(date.toISOString(), nowMs).getTime()).toBe(date.getTime());
        },
      ),
    );
  });

  it.each([
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-11-24T24:00:00Z",
    "2026-11-24T21:60:00Z",
    "2026-11-24T21:37:00+24:00",
  ])("refuses %s, which no calendar has", (text) => {
    expect(() => parseTime(text, nowMs)).toThrow("there is no such moment");
  });

  it.each([
    ["2026-11-24T21:37:00", '"2026-11-24T21:37:00Z" for UTC'],
    ["2026-11-24 21:37", '"2026-11-24T21:37Z" for UTC'],
    ["2026-11-24", '"2026-11-24T00:00:00Z" for UTC'],
  ])("refuses %s, which names no time zone, and says what to write", (text, hint) => {
    expect(failure(text).hint).toContain(hint);
  });
});

describe("an age", () => {
  it.each([
    ["2h ago", 2 * 3_600_000],
    ["30m ago", 30 * 60_000],
    ["90s ago", 90_000],
    ["3 days ago", 3 * 86_400_000],
    ["1 day ago", 86_400_000],
    ["1h 30m ago", 90 * 60_000],
    ["1h30m ago", 90 * 60_000],
    ["1.5 hours ago", 90 * 60_000],
    ["2 weeks ago", 14 * 86_400_000],
    ["  5 Minutes AGO ", 5 * 60_000],
  ])("%s counts back from now", (text, ageMs) => {
    expect(nowMs - parseTime(text, nowMs).getTime()).toBe(ageMs);
  });

  it("refuses a unit that does not exist by its name", () => {
    expect(failure("3 moons ago").why).toContain('"moons"');
  });

  it('without "ago" is answered with the form that works', () => {
    expect(failure("2h").hint).toContain('"2h ago"');
  });
});

it.each(["", "yesterday", "now", "ago", "-2h ago", "2026", "1732484221"])(
  "refuses %j with an example",
  (text) => {
    const error = failure(text);
    expect(error).toMatchObject({ code: "USAGE", exitCode: 2 });
    expect(error.hint).toContain("2h ago");
  },
);

function failure(text: string): CommandError {
  try {
    parseTime(text, nowMs);
  } catch (error) {
    if (error instanceof CommandError) return error;
    throw error;
  }
  throw new Error(`${text} was taken for a time`);
}

describe("a length of time", () => {
  it.each([
    ["90s", 90_000],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    [" 1 h 30 m ", 5_400_000],
    ["2 days", 172_800_000],
  ])("reads %s", (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  it.each(["", "5", "m", "0s", "-1s", "5m ago", "soon", "5 fortnights"])("refuses %j", (text) => {
    expect(() => parseDuration(text)).toThrow(CommandError);
  });
});
