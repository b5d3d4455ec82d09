import type { Replication, StopResult } from "wal-replicator";
import type { ServerExit, ServerProcess } from "./supervisor.ts";

/**
 * The end, in this order: the server first, so that nothing is accepted any more; shipping goes on meanwhile; then the tail is
 * captured, shipped and the epoch released. One budget over all, cut from the platform's grace.
 */
export interface ShutdownBudget {
  /** The platform's whole grace period, from the signal on. */
  readonly totalMs: number;
  /** How long the server may take. */
  readonly serverMs: number;
  /** How long the tail may take to ship after the server has ended. */
  readonly tailMs: number;
}

/** What is left for writing the last state and for exiting: the platform's KILL comes without warning. */
const reserveMs = 500;

export interface ShutdownResult {
  readonly server: ServerExit | undefined;
  readonly stream: StopResult;
}

/** @param nowMs - a monotonic clock. @throws what the stream throws if it cannot be ended. */
export async function shutDown(
  server: ServerProcess | undefined,
  replication: Pick<Replication, "stop">,
  budget: ShutdownBudget,
  nowMs: () => number = () => performance.now(),
): Promise<ShutdownResult> {
  const beganMs = nowMs();
  const exit = await server?.stop(serverGraceMs(budget));
  const stream = await replication.stop({
    applicationEnded: true,
    timeoutMs: tailTimeoutMs(budget, nowMs() - beganMs),
  });
  return { server: exit, stream };
}

/** The server gets at most half of a short budget: an acknowledged item that is not shipped is worse than a request that is cut. */
export function serverGraceMs({ totalMs, serverMs }: ShutdownBudget): number {
  return Math.min(serverMs, Math.max(totalMs / 2, totalMs - 10_000));
}

export function tailTimeoutMs({ totalMs, tailMs }: ShutdownBudget, elapsedMs: number): number {
  return Math.max(100, Math.min(tailMs, totalMs - elapsedMs - reserveMs));
}
