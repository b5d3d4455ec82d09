import { openObjectStore } from "@vaultwarden-stream/object-store";
import {
  formatTxid,
  type Replication,
  type ReplicationEvent,
  type StopResult,
} from "wal-replicator";
import { exitCodes, formatCount, formatDuration } from "wal-replicator/command-line";
import type { Config, Environment } from "../config/config.ts";
import type { ServerSettings } from "../config/server-settings.ts";
import { describeEvent } from "../event-line.ts";
import type { Logger } from "../logger.ts";
import type { ChildCommand } from "./child-command.ts";
import { childEnvironment } from "./child-environment.ts";
import { endOrphanedServer, refuseIfInUse } from "./exclusive-use.ts";
import { describeStore, requireAnswer } from "./inspect-store.ts";
import { identifyProcess } from "./process-identity.ts";
import { shutDown } from "./shutdown.ts";
import { prepareDatabase, startStream } from "./start.ts";
import { StatusFile } from "./status-file.ts";
import { StatusReporter } from "./status-reporter.ts";
import {
  describeExit,
  exitCodeOf,
  type ServerExit,
  type ServerProcess,
  startServer,
} from "./supervisor.ts";
import { waitUntilAlive } from "./wait-until-alive.ts";

export interface DaemonOptions {
  readonly config: Config;
  readonly settings: ServerSettings;
  readonly server: ChildCommand;
  /** Ours; what of it the server gets is decided here. */
  readonly environment: Environment;
  readonly log: Logger;
}

/**
 * The life of a vault: database made ready, stream anchored, server started; then whatever ends first, and the end.
 *
 * @param stop - aborted when we are asked to end.
 * @returns the exit code.
 * @throws what kept it from starting, or ended the stream. Then the server was never started, or has been stopped.
 */
export async function runDaemon(options: DaemonOptions, stop: AbortSignal): Promise<number> {
  const { config, settings, log } = options;
  const { database } = settings;
  await endOrphanedServer(database, settings.stopGraceMs, log);
  refuseIfInUse(database);

  const status = new StatusFile(
    {
      daemon: identifyProcess(process.pid),
      url: settings.url,
      database,
      store: describeStore(config.store),
    },
    (error) => log.warn(`the status file cannot be written: ${(error as Error).message}`),
  );
  status.update({});
  try {
    const start = { database, store: config.store, log, signal: stop };
    if (config.mustAnswer) await requireAnswer(openObjectStore(config.store), stop);
    await prepareDatabase(start);
    return await runPrepared(options, start, status, stop);
  } catch (error) {
    if (stop.aborted && error === stop.reason) {
      status.update({ status: "shutdown" });
      log.info("asked to end before the vault was started; nothing was left unfinished");
      return exitCodes.done;
    }
    const { code, message } = error as { code?: unknown; message?: unknown };
    const failure = { code: String(code), message: String(message) };
    status.update({ status: "error", server: null, failure });
    throw error;
  }
}

async function runPrepared(
  { config, settings, server: command, environment, log }: DaemonOptions,
  start: Parameters<typeof startStream>[0],
  status: StatusFile,
  stop: AbortSignal,
): Promise<number> {
  let reporter: StatusReporter | undefined;
  const replication = await startStream(start, config.syncIntervalMs, (event: ReplicationEvent) => {
    const { level, message, fields } = describeEvent(event);
    log[level](message, fields);
    reporter?.changed();
  });
  reporter = new StatusReporter(status, replication, start.database);
  reporter.start();

  let server: ServerProcess | undefined;
  try {
    if (!stop.aborted) {
      server = await startServer({
        command: command.command,
        arguments: command.arguments,
        environment: childEnvironment(environment, settings.databaseConnInit),
      });
      log.info(`started the vault as process ${server.pid}: ${command.description}`);
      status.update({ server: identifyProcess(server.pid) });
      announceWhenAlive(server, settings, stop, log);
    }
    const ending = await firstEnding(stop, server, replication);
    if (ending === "asked") log.info("ending: the vault first, then what it wrote last");
    else log.error(`the vault has ended: ${describeExit(ending)}`);

    const beganMs = performance.now();
    const { server: exit, stream } = await shutDown(server, replication, {
      totalMs: config.shutdownTimeoutMs,
      serverMs: settings.stopGraceMs,
      tailMs: config.tailTimeoutMs,
    });
    reporter.stop();
    if (exit?.killed === true) {
      log.warn("the vault did not end in time and was killed; what it had committed is kept");
    }
    status.update({
      status: stream.released ? "shutdown" : "error",
      server: null,
      ...finalPosition(stream),
    });
    if (!stream.released) {
      log.error(
        `not everything is in the store: ${formatCount(stream.waitingFiles, "captured file")} wait beside the database for the next start on this machine`,
      );
    } else {
      log.info(`ended after ${formatDuration(performance.now() - beganMs)}`);
    }
    const own = stream.released ? exitCodes.done : exitCodes.failed;
    return ending === "asked" ? own : exitCodeOf(ending) || own;
  } catch (error) {
    reporter.stop();
    if (server !== undefined) {
      log.error(
        "the stream has failed: stopping the vault, so that it takes nothing that is not stored",
      );
      await server.stop(settings.stopGraceMs);
    }
    throw error;
  }
}

/** Whatever ends first: we are asked to, or the server ends by itself. @throws the error that ended the stream. */
async function firstEnding(
  stop: AbortSignal,
  server: ServerProcess | undefined,
  replication: Replication,
): Promise<"asked" | ServerExit> {
  const asked = Promise.withResolvers<"asked">();
  const onAbort = (): void => asked.resolve("asked");
  stop.addEventListener("abort", onAbort, { once: true });
  if (stop.aborted) onAbort();
  try {
    return await Promise.race([
      asked.promise,
      ...(server === undefined ? [] : [server.exited]),
      replication.ended.then(() => asked.promise),
    ]);
  } finally {
    stop.removeEventListener("abort", onAbort);
  }
}

function announceWhenAlive(
  server: ServerProcess,
  settings: ServerSettings,
  stop: AbortSignal,
  log: Logger,
): void {
  const ended = new AbortController();
  void server.exited.then(() => ended.abort());
  void waitUntilAlive(settings.aliveUrl, AbortSignal.any([stop, ended.signal])).then((ms) => {
    if (ms === undefined) return;
    log.info(`the vault listens on ${settings.url} (ready after ${formatDuration(ms)})`);
  });
}

function finalPosition({
  position,
  released,
  waitingFiles,
}: StopResult): Parameters<StatusFile["update"]>[0] {
  if (position === undefined) return { waitingFiles };
  const txid = formatTxid(position.txid);
  if (!released) return { waitingFiles, timeline: position.timeline, capturedTxid: txid };
  return {
    timeline: position.timeline,
    capturedTxid: txid,
    storedTxid: txid,
    storedAsOf: new Date().toISOString(),
    waitingFiles: 0,
    waitingBytes: 0,
    waitingSince: null,
    failure: null,
  };
}
