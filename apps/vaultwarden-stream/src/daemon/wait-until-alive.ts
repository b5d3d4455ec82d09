import { get as httpGet, type RequestOptions } from "node:http";
import { get as httpsGet } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

const firstIntervalMs = 50;
const intervalMsMax = 1_000;
const answerTimeoutMs = 5_000;

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
    if (await isAlive(url, signal)) return performance.now() - beganMs;
    await sleep(intervalMs, undefined, { signal }).catch(() => {}); // aborted: the loop ends
    intervalMs = Math.min(intervalMs * 1.2, intervalMsMax);
  }
  return undefined;
}

function isAlive(url: string, signal: AbortSignal): Promise<boolean> {
  // On loopback the certificate is for another name; we ask whether it lives, not who it is.
  const options: RequestOptions & { rejectUnauthorized: boolean } = {
    rejectUnauthorized: false,
    timeout: answerTimeoutMs,
    agent: false,
    signal,
  };
  return new Promise((resolve) => {
    const get = url.startsWith("https:") ? httpsGet : httpGet;
    const request = get(url, options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(false));
    request.on("close", () => resolve(false));
  });
}
