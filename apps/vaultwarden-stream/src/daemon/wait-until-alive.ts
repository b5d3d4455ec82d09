import { setTimeout as sleep } from "node:timers/promises";
import { askAlive } from "../health/ask-alive.ts";

const firstIntervalMs = 50;
const intervalMsMax = 1_000;

/**
 * Asks until the server answers: its ready line may be switched off, and is not ours to read.
 *
 * @returns how long it took in milliseconds, or undefined if the signal was aborted first.
 */
export async function waitUntilAlive(
  url: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const beganMs = performance.now();
  let intervalMs = firstIntervalMs;
  while (!signal.aborted) {
    if ((await askAlive(url, signal)).ok) return performance.now() - beganMs;
    await sleep(intervalMs, undefined, { signal }).catch(() => {}); // aborted: the loop ends
    intervalMs = Math.min(intervalMs * 1.2, intervalMsMax);
  }
  return undefined;
}
