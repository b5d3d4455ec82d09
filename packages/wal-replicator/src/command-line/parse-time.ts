import { usageError } from "./command-error.ts";

const absolute =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?([Zz]|[+-]\d{2}:\d{2})$/;
const withoutOffset = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/;
const relative = /^((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+)\s+ago$/i;
const relativePart = /(\d+(?:\.\d+)?)\s*([a-z]+)/gi;

const unitMs: Readonly<Record<string, number>> = Object.fromEntries(
  (
    [
      [1000, ["s", "sec", "secs", "second", "seconds"]],
      [60_000, ["m", "min", "mins", "minute", "minutes"]],
      [3_600_000, ["h", "hr", "hrs", "hour", "hours"]],
      [86_400_000, ["d", "day", "days"]],
      [604_800_000, ["w", "week", "weeks"]],
    ] as const
  ).flatMap(([ms, names]) => names.map((name) => [name, ms])),
);

/**
 * A moment as people type it: RFC 3339 with its offset (`2026-11-24T21:37:00Z`), or an age (`2h ago`, `1h 30m ago`, `3 days ago`).
 *
 * A time without an offset is refused instead of guessed: the machine that restores is often in another zone than the one that wrote.
 *
 * @param nowMs - milliseconds since the Unix epoch, what an age counts from.
 * @throws {CommandError} `USAGE`
 */
export function parseTime(text: string, nowMs: number): Date {
  const trimmed = text.trim();
  const moment = absolute.exec(trimmed);
  if (moment !== null) return absoluteTime(moment, text);
  const age = relative.exec(trimmed)?.[1];
  if (age !== undefined) return new Date(nowMs - ageMs(age, text));
  if (withoutOffset.test(trimmed)) {
    const full = trimmed.length === 10 ? `${trimmed}T00:00:00` : trimmed.replace(" ", "T");
    throw notATime(
      text,
      "it does not say in which time zone",
      `write "${full}Z" for UTC, or an offset like +01:00`,
    );
  }
  const ago = relative.test(`${trimmed} ago`) ? `write "${trimmed} ago"` : undefined;
  throw notATime(text, "it is neither RFC 3339 nor an age", ago);
}

/** A length of time as people type it: `90s`, `5m`, `1h 30m`, `2 days`. In milliseconds, above 0. @throws {CommandError} `USAGE` */
export function parseDuration(text: string): number {
  const isWhole = relative.test(`${text.trim()} ago`);
  const ms = isWhole ? ageMs(text, text) : 0;
  if (ms > 0) return ms;
  throw usageError(
    `"${text}" is not a length of time`,
    "it is a number above 0 with its unit",
    "write one like 90s, 5m or 1h30m",
  );
}

function absoluteTime(fields: RegExpExecArray, text: string): Date {
  const [, year, month, day, hour, minute, second = "00", fraction = "", offset = "Z"] = fields;
  const ms = fraction.slice(0, 3).padEnd(3, "0");
  const utc = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
  // Date rolls the 30th of February over into March and hour 24 into the next day.
  const isReal =
    !Number.isNaN(utc.getTime()) && utc.getUTCDate() === Number(day) && Number(hour) < 24;
  const offsetMs = parseOffset(offset);
  if (!isReal || offsetMs === undefined) throw notATime(text, "there is no such moment");
  return new Date(utc.getTime() - offsetMs);
}

function parseOffset(offset: string): number | undefined {
  if (offset === "Z" || offset === "z") return 0;
  const hours = Number(offset.slice(1, 3));
  const minutes = Number(offset.slice(4, 6));
  if (hours > 23 || minutes > 59) return undefined;
  return (offset.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function ageMs(age: string, text: string): number {
  let sum = 0;
  for (const [, amount, unit = ""] of age.matchAll(relativePart)) {
    const ms = unitMs[unit.toLowerCase()];
    if (ms === undefined)
      throw notATime(text, `"${unit}" is no unit of time`, "the units are s, m, h, d and w");
    sum += Number(amount) * ms;
  }
  return sum;
}

function notATime(text: string, why: string, next?: string): Error {
  return usageError(
    `"${text}" is not a time`,
    why,
    next ??
      'write a time like "2026-11-24T21:37:00Z", or an age like "2h ago", "30m ago", "3 days ago"',
  );
}
