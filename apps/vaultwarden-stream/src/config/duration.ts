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

/** Whoever bounds a duration that a timer of Node has to wait for bounds it by this: 24 days, just under 2^31 ms. */
export const timerMsMax: number = 24 * 86_400_000;

/** @returns milliseconds, or undefined if the text is no duration. `0` alone needs no unit. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? Number.NaN);
  }
  const roundedMs = Math.round(totalMs);
  return Number.isSafeInteger(roundedMs) ? roundedMs : undefined;
}

/** Like {@link parseDurationMs}, and a plain integer counts seconds. */
export function parseSecondsMs(text: string): number | undefined {
  return parseDurationMs(/^\d+$/.test(text) ? `${text}s` : text);
}
