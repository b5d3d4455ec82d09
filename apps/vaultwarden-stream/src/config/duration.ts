/**
 * Durations as the environment gives them: Go's form (`500ms`, `1s`, `1h30m`) plus `d`, and, where a variable counts seconds,
 * a plain integer.
 */
const unitMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Longer would not fit a timer of Node (2^31 − 1 ms) and is a slip of the keyboard. */
const durationMsMax = 24 * 86_400_000;

/** @returns milliseconds, or undefined if the text is no duration from 0 to 24 days. `0` alone needs no unit. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? Number.NaN);
  }
  return totalMs <= durationMsMax ? Math.round(totalMs) : undefined;
}

/** Like {@link parseDurationMs}, and a plain integer counts seconds. */
export function parseSecondsMs(text: string): number | undefined {
  return parseDurationMs(/^\d+$/.test(text) ? `${text}s` : text);
}
