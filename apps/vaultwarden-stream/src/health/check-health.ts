import { isRunning } from "../daemon/process-identity.ts";
import type { DaemonStatus } from "../daemon/status-file.ts";
import { askAlive } from "./ask-alive.ts";
import { assessHealth, type Health } from "./assess-health.ts";

/** Asks the daemon's process and the vault, and judges what they say together with the status file. Takes 5 s at most. */
export async function checkHealth(
  status: DaemonStatus | undefined,
  nowMs: number,
): Promise<Health> {
  const isDaemonRunning = status !== undefined && isRunning(status.daemon);
  const isVaultThere = isDaemonRunning && status.server !== null;
  const alive = isVaultThere ? await askAlive(status.aliveUrl) : undefined;
  const syncAgeMsMax = status?.syncAgeMsMax ?? Number.POSITIVE_INFINITY;
  return assessHealth(status, { isDaemonRunning, alive }, { syncAgeMsMax }, nowMs);
}
