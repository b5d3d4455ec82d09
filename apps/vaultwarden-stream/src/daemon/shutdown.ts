import type { Replication, StopResult } from "wal-replicator";
import type { UnstoredFiles, VaultFiles } from "../files/vault-files.ts";
import type { ServerExit, ServerProcess } from "./supervisor.ts";

/**
 * The end, in this order (architecture.md 6): the server first, so that nothing is accepted any more; then, at once, the tail of the database and the
 * last files; and only when both are stored or out of time, the epoch is released, for whoever takes it next restores both. One budget over all, cut
 * from the platform's grace.
 */
export interface ShutdownBudget {
  /** The platform's whole grace period, from the signal on. */
  readonly totalMs: number;
  /** How long the server may take. */
  readonly serverMs: number;
  /** How long the tail may take to ship after the server has ended. */
  readonly tailMs: number;
  /** How long the last push of files may take. */
  readonly filesMs: number;
}

/** What is left for writing the last state and for exiting: the platform's KILL comes without warning. */
const reserveMs = 500;

export interface ShutdownResult {
  readonly server: ServerExit | undefined;
  readonly stream: StopResult;
  /** Undefined: every file is stored. */
  readonly files: UnstoredFiles;
}

/** What there is to end. */
export interface Endings {
  readonly server: ServerProcess | undefined;
  readonly replication: Pick<Replication, "flush" | "stop">;
  readonly files: Pick<VaultFiles, "finish">;
}

/** @param nowMs - a monotonic clock. @throws what the stream throws if it cannot be ended. */
export async function shutDown(
  { server, replication, files }: Endings,
  budget: ShutdownBudget,
  nowMs: () => number = () => performance.now(),
): Promise<ShutdownResult> {
  const beganMs = nowMs();
  const exit = await server?.stop(serverGraceMs(budget));
  const elapsedMs = nowMs() - beganMs;
  const tailMs = stepTimeoutMs(budget, budget.tailMs, elapsedMs);
  const filesMs = stepTimeoutMs(budget, budget.filesMs, elapsedMs);
  const [unstored] = await Promise.all([
    files.finish(AbortSignal.timeout(filesMs)),
    // What keeps it from being stored is the answer of `stop`.
    replication.flush({ signal: AbortSignal.timeout(tailMs) }).catch(() => undefined),
  ]);
  const stream = await replication.stop({
    applicationEnded: true,
    timeoutMs: stepTimeoutMs(budget, budget.tailMs, nowMs() - beganMs),
  });
  return { server: exit, stream, files: unstored };
}

/** The server gets at most half of a short budget: an acknowledged item that is not shipped is worse than a request that is cut. */
export function serverGraceMs({ totalMs, serverMs }: ShutdownBudget): number {
  return Math.min(serverMs, Math.max(totalMs / 2, totalMs - 10_000));
}

/** @param elapsedMs - since the signal. @returns what a step of `stepMs` may take. */
export function stepTimeoutMs(
  { totalMs }: ShutdownBudget,
  stepMs: number,
  elapsedMs: number,
): number {
  // Timers take whole milliseconds alone.
  return Math.floor(Math.max(100, Math.min(stepMs, totalMs - elapsedMs - reserveMs)));
}
