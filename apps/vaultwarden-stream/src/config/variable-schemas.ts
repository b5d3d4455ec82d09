import { z } from "zod";
import { parseBytes } from "./bytes.ts";
import { parseDurationMs, parseSecondsMs } from "./duration.ts";
import { type ListenAddress, parseListenAddress } from "./listen-address.ts";

/** From the text of a variable to its value. An issue's message is the remedy: it says what to write instead, and never holds the text itself. */
export type VariableSchema<T = unknown> = z.ZodType<T, string>;

interface Bounds {
  readonly minMs: number;
  readonly maxMs: number;
}

export function text(): VariableSchema<string> {
  return z.string();
}

export function duration(bounds: Bounds): VariableSchema<number> {
  return bounded(parseDurationMs, bounds, "write a number with its unit, like 500ms, 1s or 1h30m");
}

/** Like a duration, and `0`, `off`, `no` or `false` are 0. */
export function durationOrOff(bounds: Bounds): VariableSchema<number> {
  const on = duration(bounds);
  return z.string().transform((given, context) => {
    if (/^(0s?|off|no|false)$/i.test(given)) return 0;
    const read = on.safeParse(given);
    if (read.success) return read.data;
    for (const { message } of read.error.issues) context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

/** Like a duration, and a plain integer counts seconds. */
export function seconds(bounds: Bounds): VariableSchema<number> {
  return bounded(parseSecondsMs, bounds, "write seconds, like 30, or a duration, like 1m30s");
}

function bounded(
  parse: (text: string) => number | undefined,
  { minMs, maxMs }: Bounds,
  remedy: string,
): VariableSchema<number> {
  return z.string().transform((given, context) => {
    const ms = parse(given);
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    const message =
      ms === undefined ? remedy : `out of range: it must lie between ${minMs} ms and ${maxMs} ms`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

/** Like `10M`: bytes, or with a unit; `off` is Infinity. */
export function bytes(min: number): VariableSchema<number> {
  return z.string().transform((given, context) => {
    const value = parseBytes(given);
    if (value !== undefined && value >= min) return value;
    const least = min > 0 ? ` of at least ${min} bytes` : "";
    context.addIssue({ code: "custom", message: `write a size${least}, like 10M, or off` });
    return z.NEVER;
  });
}

/** A whole number; `off` and 0 are Infinity. */
export function countOrOff(): VariableSchema<number> {
  return z.string().transform((given, context) => {
    if (/^(0|off)$/i.test(given)) return Number.POSITIVE_INFINITY;
    if (/^\d{1,15}$/.test(given)) return Number(given);
    context.addIssue({ code: "custom", message: "write a whole number, or off" });
    return z.NEVER;
  });
}

/** @param later - words that will be good one day, or never, each with the reason. */
export function oneOf<T>(
  words: Readonly<Record<string, T>>,
  later: Readonly<Record<string, string>> = {},
): VariableSchema<T> {
  return z.string().transform((given, context) => {
    const word = given.toLowerCase();
    if (Object.hasOwn(words, word)) return words[word] as T;
    const known = Object.keys(words).join(", ");
    const message = Object.hasOwn(later, word)
      ? `${later[word]}; write ${known}`
      : `write ${known}`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

export function boolean(): VariableSchema<boolean> {
  return z.string().transform((given, context) => {
    if (/^(true|1|yes|on)$/i.test(given)) return true;
    if (/^(false|0|no|off)$/i.test(given)) return false;
    context.addIssue({ code: "custom", message: "write true or false" });
    return z.NEVER;
  });
}

export function integer(min: number, max: number): VariableSchema<number> {
  return z.string().transform((given, context) => {
    const value = /^\d{1,15}$/.test(given) ? Number(given) : Number.NaN;
    if (value >= min && value <= max) return value;
    context.addIssue({
      code: "custom",
      message: `write a whole number from ${min} to ${max}`,
    });
    return z.NEVER;
  });
}

/** Items between commas, spaces around them dropped, each read by `item`. */
export function list<T>(item: VariableSchema<T>): VariableSchema<readonly T[]> {
  return z
    .string()
    .transform((given) =>
      given
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== ""),
    )
    .pipe(z.array(item));
}

export function listenAddress(): VariableSchema<ListenAddress> {
  return z.string().transform((given, context) => {
    const address = parseListenAddress(given);
    if (address !== undefined) return address;
    context.addIssue({ code: "custom", message: "write it like 127.0.0.1:9464 or [::1]:9464" });
    return z.NEVER;
  });
}

/** What `matches` accepts, as it is. */
export function matching(matches: RegExp, remedy: string): VariableSchema<string> {
  return z.string().regex(matches, { message: remedy });
}
