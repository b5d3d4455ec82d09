import type { Logger } from "./logger.ts";

/** Why something was given up: we were asked to end. */
class StopRequested extends Error {
  override readonly name = "StopRequested";
  readonly code = "INTERRUPTED";
}

/**
 * Aborted by the first SIGTERM, SIGINT or SIGHUP (the terminal is gone). Further ones change nothing: the end is under way and has
 * a time limit of its own.
 */
export function stopSignal(log: Logger): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) log.info(`${name} again: still ending`);
      else controller.abort(new StopRequested(`ended by ${name}`));
    });
  }
  return controller.signal;
}
