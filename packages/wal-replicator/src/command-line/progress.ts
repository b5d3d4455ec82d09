import type { Writable } from "node:stream";
import { formatBytes, formatDuration } from "./format.ts";

/** How far a piece of work is. */
export interface Progress {
  /** Bytes done so far, and in all as far as that is known. May be called for every chunk. */
  update(doneBytes: number, totalBytes?: number): void;
  /** Removes the bar, so that something else can be printed; the next update draws it again. */
  clear(): void;
}

export interface ProgressOptions {
  readonly label: string;
  readonly stream: Writable & { readonly columns?: number };
  readonly isBar: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Prints a line where there is no bar. */
  readonly line: (text: string, fields: object) => void;
}

const barIntervalMs = 100;
const lineIntervalMs = 10_000;
const barWidth = 24;

/** Begins to show progress. Nothing is drawn before the first interval has passed: short work is not worth a line. */
export function startProgress(options: ProgressOptions): Progress {
  const startMs = options.now();
  const intervalMs = options.isBar ? barIntervalMs : lineIntervalMs;
  let shownMs = startMs;
  let isDrawn = false;

  return {
    update(doneBytes, totalBytes) {
      const nowMs = options.now();
      if (nowMs - shownMs < intervalMs) return;
      shownMs = nowMs;
      const state = describeProgress(doneBytes, totalBytes, nowMs - startMs);
      if (!options.isBar) {
        options.line(`${options.label}: ${state.text}`, { ...state.fields });
        return;
      }
      const bar = state.share === undefined ? "" : `${drawBar(state.share)} `;
      const width = (options.stream.columns ?? 80) - 1;
      options.stream.write(`\r\u001b[2K${`${options.label} ${bar}${state.text}`.slice(0, width)}`);
      isDrawn = true;
    },
    clear() {
      if (!isDrawn) return;
      options.stream.write("\r\u001b[2K");
      isDrawn = false;
    },
  };
}

function describeProgress(
  doneBytes: number,
  totalBytes: number | undefined,
  elapsedMs: number,
): {
  readonly text: string;
  readonly share: number | undefined;
  readonly fields: {
    doneBytes: number;
    totalBytes: number | null;
    bytesPerSecond: number;
    leftMs: number | null;
  };
} {
  const bytesPerSecond = elapsedMs > 0 ? (doneBytes / elapsedMs) * 1000 : 0;
  const isKnown = totalBytes !== undefined && totalBytes > 0;
  const leftMs =
    isKnown && bytesPerSecond > 0
      ? (Math.max(0, totalBytes - doneBytes) / bytesPerSecond) * 1000
      : undefined;
  const parts = [
    isKnown ? `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}` : formatBytes(doneBytes),
    `${formatBytes(Math.round(bytesPerSecond))}/s`,
  ];
  if (leftMs !== undefined) parts.push(`${formatDuration(leftMs)} left`);
  return {
    text: parts.join(", "),
    share: isKnown ? Math.min(1, doneBytes / totalBytes) : undefined,
    fields: {
      doneBytes,
      totalBytes: totalBytes ?? null,
      bytesPerSecond: Math.round(bytesPerSecond),
      leftMs: leftMs === undefined ? null : Math.round(leftMs),
    },
  };
}

function drawBar(share: number): string {
  const filled = Math.round(share * barWidth);
  return `[${"#".repeat(filled)}${"-".repeat(barWidth - filled)}] ${String(Math.floor(share * 100)).padStart(3)} %`;
}
