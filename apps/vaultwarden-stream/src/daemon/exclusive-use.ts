import { existsSync, realpathSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { CommandError, exitCodes } from "wal-replicator/command-line";
import type { Logger } from "../logger.ts";
import { isRunning, type ProcessIdentity, processesWithFileOpen } from "./process-identity.ts";
import { readStatusFile } from "./status-file.ts";

/**
 * Nobody else may use the database while we decide about it, restore it or stream it.
 *
 * @throws {CommandError} `VAULT_RUNNING` if a daemon runs on it, or any process has it open.
 */
export function refuseIfInUse(database: string): void {
  const status = readStatusFile(database);
  // In a container every daemon has the same process id, and after a reboot perhaps the same time of start.
  if (status !== undefined && status.daemon.pid !== process.pid && isRunning(status.daemon)) {
    throw vaultRunning(database, `the daemon with process id ${status.daemon.pid} runs on it`);
  }
  if (!existsSync(database)) return;
  const [pid] = processesWithFileOpen(realpathSync(database));
  if (pid !== undefined) {
    throw vaultRunning(database, `the process ${pid} has it open`);
  }
}

/**
 * Ends the server of a daemon that was killed: it still takes writes, holds the port, and nobody streams what it writes.
 * What it has committed is found by the stream's resume.
 */
export async function endOrphanedServer(
  database: string,
  graceMs: number,
  log: Logger,
): Promise<void> {
  const status = readStatusFile(database);
  const server = status?.server;
  if (!status || !server || isRunning(status.daemon) || !isRunning(server)) return;
  log.warn(
    `the last daemon (process ${status.daemon.pid}) was killed and its server (process ${server.pid}) still runs: ending it first`,
  );
  process.kill(server.pid, "SIGTERM");
  if (await isGone(server, graceMs)) return;
  process.kill(server.pid, "SIGKILL");
  if (await isGone(server, 5_000)) return;
  throw vaultRunning(database, `the process ${server.pid} cannot be ended`);
}

async function isGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const untilMs = performance.now() + timeoutMs;
  while (isRunning(identity)) {
    if (performance.now() > untilMs) return false;
    await sleep(20);
  }
  return true;
}

function vaultRunning(database: string, why: string): CommandError {
  return new CommandError(
    "VAULT_RUNNING",
    { what: `${database} is in use`, why, next: "stop it first, then run the same command again" },
    { exitCode: exitCodes.heldByAnother },
  );
}
