import type { OfferedRange } from "../maintain/offered-instants.ts";
import { formatCount, formatDuration, formatTime } from "./format.ts";

/** What retention keeps for restores to a time, a line for each age; none if there is nothing. */
export function describeOfferedRanges(ranges: readonly OfferedRange[]): string[] {
  if (ranges.length === 0) return [];
  const lines = ranges.map(({ from, to, count, precisionSeconds }) => {
    const precision =
      precisionSeconds === 0
        ? "every stored change"
        : `precise to ${formatDuration(precisionSeconds * 1000)}`;
    return `  ${formatSpan(from, to)}: ${formatCount(count, "recovery point")}, ${precision}`;
  });
  return ["kept for a restore to a time:", ...lines];
}

/** One moment, or from one to another. */
export function formatSpan(from: Date, to: Date): string {
  return from.getTime() === to.getTime()
    ? formatTime(from)
    : `${formatTime(from)} to ${formatTime(to)}`;
}
