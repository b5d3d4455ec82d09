/** The process from its start to its end: order of events, signals and exit codes are the server's. */
import { accessSync, closeSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { setTimeout as sleepMs } from "node:timers/promises";
import { backUpDatabase } from "./backup.ts";
import { createListener } from "./http.ts";
import { migrate } from "./migrations.ts";
import { Pool } from "./pool.ts";
import { adminRoutes } from "./routes-admin.ts";
import { attachmentRoutes } from "./routes-attachments.ts";
import { cipherRoutes } from "./routes-ciphers.ts";
import { identityRoutes } from "./routes-identity.ts";
import { purgeSends, sendRoutes } from "./routes-sends.ts";
import { statusRoutes } from "./routes-status.ts";
import { readSettings, type Settings, StartFailure } from "./settings.ts";
import { readOrCreateSigningKey } from "./signing-key.ts";
import type { Vault } from "./vault.ts";

interface Log {
  (level: "INFO" | "WARN" | "ERROR", message: string): void;
  /** Opens `LOG_FILE` by its name again, for whoever has moved it away. */
  reopen(): void;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Starts the server and resolves when it listens. It ends the process itself, on a signal.
 *
 * Until it listens there are no signal handlers: the process dies at once, and an open migration rolls back.
 *
 * @throws {StartFailure} with the exit code.
 */
export async function runServer(environment: Environment): Promise<void> {
  const settings = readSettings(environment);
  const log = createLog(settings);
  refuseVolatileStorage(settings, environment);
  accessSync(settings.dataFolder);
  const signingKey = readOrCreateSigningKey(settings.rsaKeyPath);
  mkdirSync(settings.tmpFolder, { recursive: true });
  try {
    migrate(settings);
  } catch (cause) {
    throw new StartFailure(`thread 'main' panicked: ${String(cause)}`, { exitCode: 101, cause });
  }
  const pool = await openPool(settings, log);
  const vault: Vault = {
    settings,
    reloadSettings() {
      const { signupsAllowed } = readSettings(environment);
      vault.settings = { ...vault.settings, signupsAllowed };
    },
    pool,
    signingKey,
    nowMs: () => Date.now(),
  };
  startJobs(vault, log);
  const { listener, openCount } = createListener(
    [
      ...statusRoutes(vault),
      ...identityRoutes(vault),
      ...attachmentRoutes(vault),
      ...cipherRoutes(vault),
      ...sendRoutes(vault),
      ...adminRoutes(vault),
    ],
    settings.basePath,
    (message) => log("ERROR", message),
  );
  const server = createServer(listener);
  const port = await listen(server, settings);
  handleSignals(vault, log, () => shutDown(server, openCount, vault, log));
  log("INFO", `Rocket has launched from http://${bracketed(settings.address)}:${port}`);
}

async function openPool(settings: Settings, log: Log): Promise<Pool> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return new Pool(settings);
    } catch (error) {
      if (attempt >= settings.dbConnectionRetries) {
        throw new StartFailure(`Can't connect to the database: ${String(error)}`, {
          exitCode: 1,
          cause: error,
        });
      }
      log("WARN", `Can't connect to database, retrying: ${String(error)}`);
      await sleepMs(1000);
    }
  }
}

function listen(server: Server, settings: Settings): Promise<number> {
  return new Promise((launched, reject) => {
    server.once("error", (cause) =>
      reject(new StartFailure(`cannot listen: ${cause.message}`, { exitCode: 1, cause })),
    );
    server.listen(settings.port, settings.address, () =>
      launched((server.address() as AddressInfo).port),
    );
  });
}

function handleSignals(vault: Vault, log: Log, stop: () => Promise<void>): void {
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
    process.once(signal, () => void stop());
  }
  process.on("SIGUSR1", () => {
    try {
      log("INFO", `Backup to '${backUpDatabase(vault.settings, vault.nowMs())}' was successful`);
    } catch (error) {
      log("ERROR", `Backup failed: ${String(error)}`);
    }
  });
  // Without a log file it stays lethal.
  if (vault.settings.logFile !== undefined) process.on("SIGHUP", log.reopen);
}

/** Grace and mercy, in which open requests may end; then their connections are cut. What still runs a second later makes the exit code 1. */
async function shutDown(
  server: Server,
  openCount: () => number,
  vault: Vault,
  log: Log,
): Promise<void> {
  const { shutdownGraceMs, shutdownMercyMs } = vault.settings;
  const closed = new Promise<void>((resolveClosed) => server.close(() => resolveClosed()));
  await Promise.race([closed, sleepMs(shutdownGraceMs + shutdownMercyMs)]);
  server.closeAllConnections();
  const deadlineMs = performance.now() + 1000;
  while (openCount() > 0 && performance.now() < deadlineMs) await sleepMs(10);
  log("INFO", "Vaultwarden process exited!");
  // The job thread holds the pool to the end: the database is not closed, and the WAL stays. Without jobs the last close empties it.
  if (vault.settings.jobPollIntervalMs === 0) vault.pool.close();
  process.exit(openCount() === 0 ? 0 : 1);
}

/** The hourly job at minute 5 that deletes expired Sends; the server's other jobs are not here. */
function startJobs(vault: Vault, log: Log): void {
  if (vault.settings.jobPollIntervalMs === 0) return;
  let lastHour = -1;
  const timer = setInterval(() => {
    const now = new Date(vault.nowMs());
    if (now.getUTCMinutes() !== 5 || now.getUTCHours() === lastHour) return;
    lastHour = now.getUTCHours();
    purgeSends(vault).catch((error) => log("ERROR", `purge of Sends: ${String(error)}`));
  }, vault.settings.jobPollIntervalMs);
  timer.unref();
}

/** In a container, an anonymous volume under the data folder is refused: it would be gone with the container. */
function refuseVolatileStorage(settings: Settings, environment: Environment): void {
  // Any value counts, even an empty one.
  if (environment["I_REALLY_WANT_VOLATILE_STORAGE"] !== undefined) return;
  let mounts: string;
  try {
    mounts = readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    return;
  }
  const folder = resolve(settings.dataFolder);
  const isVolatile = mounts.split("\n").some((line) => {
    const [, , , root = "", mountPoint] = line.split(" ");
    return mountPoint === folder && /\/volumes\/[0-9a-f]{64}\/_data$/.test(root);
  });
  if (isVolatile)
    throw new StartFailure(`No persistent volume: ${folder} would be lost`, { exitCode: 1 });
}

/** Lines to stdout, and to `LOG_FILE` if it is set. */
function createLog({ logFile, logsInfo }: Settings): Log {
  const openFile = () => (logFile === undefined ? undefined : openSync(logFile, "a"));
  let file = openFile();
  const log = (level: "INFO" | "WARN" | "ERROR", message: string): void => {
    if (level === "INFO" && !logsInfo) return;
    const time = new Date().toISOString().replace("T", " ").slice(0, 23);
    const line = `[${time}][start][${level}] ${message}\n`;
    if (file !== undefined) writeSync(file, line);
    process.stdout.write(line);
  };
  const reopen = (): void => {
    if (file !== undefined) closeSync(file);
    file = openFile();
  };
  return Object.assign(log, { reopen });
}

function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
