import type { EventEmitter } from "node:events";
import { InterruptedError } from "./command-error.ts";

export type TerminationSignal = "SIGINT" | "SIGTERM";

/** Signals closer together than this are one request that came twice: nobody presses a key again that fast. */
const sameRequestMs = 300;

/**
 * Calls back for every SIGINT and SIGTERM until the returned function is called. While it listens, the signals do not end the
 * process. One request often comes twice at once: `timeout` signals its command and then its command's group, and a
 * package manager passes a Ctrl-C on that the terminal sent to the whole group already.
 *
 * @param count - how many came so far, this one included: people press Ctrl-C again when they are done waiting.
 */
export function onTermination(
  listener: (signal: TerminationSignal, count: number) => void,
  source: EventEmitter = process,
  nowMs: () => number = () => performance.now(),
): () => void {
  let count = 0;
  let countedAtMs = Number.NEGATIVE_INFINITY;
  const hear = (signal: TerminationSignal): void => {
    if (nowMs() - countedAtMs < sameRequestMs) return;
    countedAtMs = nowMs();
    listener(signal, ++count);
  };
  const interrupt = (): void => hear("SIGINT");
  const terminate = (): void => hear("SIGTERM");
  source.on("SIGINT", interrupt);
  source.on("SIGTERM", terminate);
  return () => {
    source.off("SIGINT", interrupt);
    source.off("SIGTERM", terminate);
  };
}

/**
 * Runs work that SIGINT and SIGTERM cancel: the signal it is given is aborted with an `InterruptedError`, and the work cleans up
 * and rejects with that reason.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  source: EventEmitter = process,
): Promise<T> {
  const controller = new AbortController();
  const stopListening = onTermination(
    (signal) => controller.abort(new InterruptedError(signal)),
    source,
  );
  try {
    return await work(controller.signal);
  } finally {
    stopListening();
  }
}
