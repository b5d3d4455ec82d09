import {
  type FencedEvent,
  formatTxid,
  type IfHeld,
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
import { identifyProcess } from "./process-identity.ts";
import { shutDown } from "./shutdown.ts";
import { openStream } from "./start.ts";
import { StatusFile } from "./status-file.ts";
import { heartbeatMs, StatusReporter } from "./status-reporter.ts";
import {
  describeExit,
  exitCodeOf,
  type ServerExit,
  type ServerProcess,
  startServer,
} from "./supervisor.ts";
import { describeStore, requireAnswer } from "./vault-store.ts";
import { waitUntilAlive } from "./wait-until-alive.ts";

export interface DaemonOptions {
  readonly config: Config;
  readonly settings: ServerSettings;
  readonly server: ChildCommand;
  /** Ours; what of it the server gets is decided here. */
  readonly environment: Environment;
  /** What the start does while another machine holds the store. */
  readonly ifHeld: IfHeld;
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
    if (config.mustAnswer) await requireAnswer(config.store, stop);
    return await new VaultLife(options, status, stop).run();
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

/** What ends the life of a vault: we are asked to, somebody else has taken over, or the server ends by itself. */
type Ending = "asked" | "fenced" | ServerExit;

class VaultLife {
  readonly #options: DaemonOptions;
  readonly #status: StatusFile;
  readonly #stop: AbortSignal;
  readonly #reporter: StatusReporter;
  readonly #fencing = Promise.withResolvers<"fenced">();
  #fencedBy: FencedEvent | undefined;

  constructor(options: DaemonOptions, status: StatusFile, stop: AbortSignal) {
    this.#options = options;
    this.#status = status;
    this.#stop = stop;
    this.#reporter = new StatusReporter(status, options.settings.database);
  }

  /** @returns the exit code. */
  async run(): Promise<number> {
    const { config, settings, ifHeld, log } = this.#options;
    const replication = await openStream({
      ...config,
      database: settings.database,
      ifHeld,
      log,
      signal: this.#stop,
      onEvent: (event) => this.#onEvent(event),
    });
    this.#reporter.follow(replication);
    let server: ServerProcess | undefined;
    try {
      if (!this.#stop.aborted && this.#fencedBy === undefined) server = await this.#startServer();
      const ending = await this.#firstEnding(server, replication);
      if (ending === "asked") log.info("ending: the vault first, then what it wrote last");
      else if (ending === "fenced") await this.#branch(server, replication);
      else log.error(`the vault has ended: ${describeExit(ending)}`);
      const own = await this.#end(server, replication);
      return typeof ending === "string" || this.#fencedBy !== undefined
        ? own
        : exitCodeOf(ending) || own;
    } catch (error) {
      if (server !== undefined) {
        if (this.#fencedBy === undefined) {
          log.error(
            "the stream has failed: stopping the vault, so that it takes nothing that is not stored",
          );
        }
        await server.stop(settings.stopGraceMs);
      }
      if (this.#fencedBy === undefined) throw error;
      log.error(`what the vault wrote last is not in the store: ${(error as Error).message}`);
      return await this.#stayFenced({});
    } finally {
      this.#reporter.stop();
    }
  }

  #onEvent(event: ReplicationEvent): void {
    const { level, message, fields } = describeEvent(event);
    this.#options.log[level](message, fields);
    this.#reporter.note(event);
    if (event.type !== "fenced") return;
    this.#fencedBy = event;
    this.#fencing.resolve("fenced");
  }

  async #startServer(): Promise<ServerProcess> {
    const { settings, server: command, environment, log } = this.#options;
    const server = await startServer({
      command: command.command,
      arguments: command.arguments,
      environment: childEnvironment(environment, settings.databaseConnInit),
    });
    log.info(`started the vault as process ${server.pid}: ${command.description}`);
    this.#status.update({ server: identifyProcess(server.pid) });
    announceWhenAlive(server, settings, this.#stop, log);
    return server;
  }

  /** @throws the error that ended the stream. */
  async #firstEnding(server: ServerProcess | undefined, { ended }: Replication): Promise<Ending> {
    const asked = aborted(this.#stop).then((): Ending => "asked");
    return Promise.race([
      this.#fencing.promise,
      asked,
      ...(server === undefined ? [] : [server.exited]),
      ended.then(() => asked),
    ]);
  }

  /** The vault first; then what it wrote last goes onto a branch. To stop the stream at once would cut that short. */
  async #branch(server: ServerProcess | undefined, replication: Replication): Promise<void> {
    const { config, settings, log } = this.#options;
    log.error("ending the vault: what it takes from now on would only be on a branch");
    await server?.stop(settings.stopGraceMs);
    const timeLimit = AbortSignal.timeout(config.tailTimeoutMs);
    try {
      await replication.flush({ signal: AbortSignal.any([this.#stop, timeLimit]) });
    } catch {
      // Asked to end, no time left, or the stream has failed: the end says what is not stored.
    }
  }

  /** @returns the exit code that says whether everything is stored. */
  async #end(server: ServerProcess | undefined, replication: Replication): Promise<number> {
    const { config, settings, log } = this.#options;
    const beganMs = performance.now();
    const { server: exit, stream } = await shutDown(server, replication, {
      totalMs: config.shutdownTimeoutMs,
      serverMs: settings.stopGraceMs,
      tailMs: config.tailTimeoutMs,
    });
    this.#reporter.stop();
    if (exit?.killed === true) {
      log.warn("the vault did not end in time and was killed; what it had committed is kept");
    }
    if (!stream.released) log.error(describeUnstored(stream));
    if (this.#fencedBy !== undefined) return this.#stayFenced(finalPosition(stream));
    this.#status.update({
      status: stream.released ? "shutdown" : "error",
      server: null,
      ...finalPosition(stream),
    });
    if (!stream.released) return exitCodes.failed;
    log.info(`ended after ${formatDuration(performance.now() - beganMs)}`);
    return exitCodes.done;
  }

  /**
   * The vault is stopped, and what it wrote is kept. We stay until somebody ends us, for whoever ended by themselves would be started again,
   * and two machines would take the vault from each other for ever.
   */
  async #stayFenced(position: StatusChanges): Promise<number> {
    const { log } = this.#options;
    const { by, message } = this.#fencedBy as FencedEvent;
    this.#reporter.stop();
    const said = {
      ...position,
      status: "error",
      server: null,
      fencedBy: by,
      failure: { code: "FENCED", message },
    } as const;
    this.#status.update(said);
    if (!this.#stop.aborted) {
      const where = position.timeline
        ? `; what it wrote last is timeline ${position.timeline}`
        : "";
      log.error(
        `fenced: the vault is stopped here${where}, a branch that \`restore --timeline\` brings back. It is not started again by itself: end this process for good, or run it with --take-over`,
      );
    }
    const heartbeat = setInterval(() => this.#status.update(said), heartbeatMs);
    await aborted(this.#stop);
    clearInterval(heartbeat);
    return exitCodes.heldByAnother;
  }
}

type StatusChanges = Parameters<StatusFile["update"]>[0];

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function describeUnstored({ waitingFiles }: StopResult): string {
  return waitingFiles === 0
    ? "everything is in the store, but the epoch could not be released: the next start may have to wait for it"
    : `not everything is in the store: ${formatCount(waitingFiles, "captured file")} wait beside the database for the next start on this machine`;
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

function finalPosition({ position, released, waitingFiles }: StopResult): StatusChanges {
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
