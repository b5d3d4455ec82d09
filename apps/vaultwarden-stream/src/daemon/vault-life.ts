import { readFileSync } from "node:fs";
import type { ObjectStore } from "@vaultwarden-stream/object-store";
import {
  type BuiltDatabase,
  type FencedEvent,
  formatTxid,
  type IfHeld,
  type Replication,
  type ReplicationEvent,
  type StopResult,
} from "wal-replicator";
import { exitCodes, formatDuration } from "wal-replicator/command-line";
import type { Config, Environment } from "../config/config.ts";
import { formatProblem } from "../config/config-problem.ts";
import { requireSamePlaces } from "../config/require-same-places.ts";
import type { ServerSettings } from "../config/server-settings.ts";
import { describeEvent } from "../event-line.ts";
import { toFilesStatus } from "../files/files-status.ts";
import { StreamPlaceTracker } from "../files/stream-place.ts";
import type { VaultFiles } from "../files/vault-files.ts";
import { vaultRoots } from "../files/vault-roots.ts";
import type { Logger } from "../logger.ts";
import { describeFiles, warnOfFiles } from "../restore/describe-files.ts";
import { publishVault } from "../restore/restore-vault.ts";
import type { ChildCommand } from "./child-command.ts";
import { environmentDisagreements, readChildEnviron } from "./child-environ.ts";
import { childEnvironment } from "./child-environment.ts";
import { describeUnstored, describeUnstoredFiles } from "./life-lines.ts";
import { openLimitedStore } from "./limited-store.ts";
import { openDrills } from "./open-drills.ts";
import { openVaultFiles } from "./open-vault-files.ts";
import { identifyProcess } from "./process-identity.ts";
import { shutDown } from "./shutdown.ts";
import { openStream } from "./start.ts";
import { heartbeatMs, type StatusFile } from "./status-file.ts";
import { StatusReporter } from "./status-reporter.ts";
import type { StreamCounters } from "./stream-counters.ts";
import {
  describeExit,
  exitCodeOf,
  type ServerExit,
  type ServerProcess,
  startServer,
} from "./supervisor.ts";
import { retrying } from "./vault-store.ts";
import { waitUntilAlive } from "./wait-until-alive.ts";

export interface VaultLifeOptions {
  readonly config: Config;
  readonly settings: ServerSettings;
  /** Reads them again: a restore may have brought a `config.json`. @throws if they cannot be used. */
  readonly readSettings: () => ServerSettings;
  readonly server: ChildCommand;
  /** Ours; what of it the server gets is decided here. */
  readonly environment: Environment;
  /** What the start does while another machine holds the store. */
  readonly ifHeld: IfHeld;
  readonly log: Logger;
}

/**
 * What ends the life of a vault: we are asked to, somebody else has taken over, the server turns out to run with other settings than we reckon with, or
 * it ends by itself.
 */
type Ending = "asked" | "fenced" | "disagreed" | ServerExit;

export class VaultLife {
  readonly #options: VaultLifeOptions;
  readonly #status: StatusFile;
  readonly #counters: StreamCounters;
  /** One stack for all that is sent: counted, and held within the limits. Each request is tried once. */
  readonly #store: ObjectStore;
  readonly #stop: AbortSignal;
  readonly #reporter: StatusReporter;
  readonly #fencing = Promise.withResolvers<"fenced">();
  readonly #disagreeing = Promise.withResolvers<"disagreed">();
  readonly #place = new StreamPlaceTracker();
  readonly #files: VaultFiles;
  #settings: ServerSettings;
  #fencedBy: FencedEvent | undefined;

  constructor(
    options: VaultLifeOptions,
    { status, counters }: { readonly status: StatusFile; readonly counters: StreamCounters },
    stop: AbortSignal,
  ) {
    this.#options = options;
    this.#status = status;
    this.#counters = counters;
    this.#stop = stop;
    this.#settings = options.settings;
    const { store, usage } = openLimitedStore({
      ...options,
      kept: () => status.current.files ?? undefined,
      onBudget: () => this.#reporter.noteBudget(),
    });
    this.#store = store;
    counters.follow(usage);
    this.#reporter = new StatusReporter(status, options.settings.database, usage);
    this.#files = openVaultFiles({
      ...options,
      store,
      place: this.#place,
      onLook: (state) => this.#reporter.noteFiles(toFilesStatus(state)),
    });
  }

  /** @returns the exit code. */
  async run(): Promise<number> {
    const { config, ifHeld, log } = this.#options;
    const replication = await openStream({
      ...config,
      openStore: this.#store,
      database: this.#settings.database,
      ifHeld,
      log,
      signal: this.#stop,
      onEvent: (event) => this.#onEvent(event),
      publish: (built) => this.#publish(built),
      onRestoreProgress: (progress) => this.#reporter.noteRestoring(progress),
    });
    this.#reporter.follow(replication);
    const { database } = this.#settings;
    const [status, store] = [this.#status, retrying(this.#store)];
    const drills = openDrills({ ...this.#options, database, replication, status, store });
    let server: ServerProcess | undefined;
    try {
      await this.#beginFiles(replication);
      if (!this.#stop.aborted && this.#fencedBy === undefined) server = await this.#startServer();
      this.#files.start();
      drills.start();
      const ending = await this.#firstEnding(server, replication);
      // At once, and nobody waits for it: what is to be stored goes first.
      const drilled = drills.stop();
      if (ending === "asked") log.info("ending: the vault first, then what it wrote last");
      else if (ending === "fenced") await this.#branch(server, replication);
      else if (ending === "disagreed") log.error("ending the vault: it does not run as it should");
      else log.error(`the vault has ended: ${describeExit(ending)}`);
      const own = await this.#end(server, replication);
      await drilled;
      if (this.#fencedBy !== undefined) return own;
      if (ending === "disagreed") return exitCodes.usage;
      return typeof ending === "string" ? own : exitCodeOf(ending) || own;
    } catch (error) {
      if (server !== undefined) {
        if (this.#fencedBy === undefined) {
          log.error(
            "the stream has failed: stopping the vault, so that it takes nothing that is not stored",
          );
        }
        await server.stop(this.#settings.stopGraceMs);
      }
      await Promise.all([this.#files.stop(), drills.stop()]);
      if (this.#fencedBy === undefined) {
        await replication.stop({ timeoutMs: config.tailTimeoutMs }).catch(() => {}); // the error is said
        throw error;
      }
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
    this.#counters.note(event);
    this.#place.note(event);
    // A row may have come that a file waits for.
    if (event.type === "captured") this.#files.hint();
    if (event.type !== "fenced") return;
    this.#fencedBy = event;
    this.#fencing.resolve("fenced");
  }

  /** The files of a restored database, and then both in their place. */
  async #publish(built: BuiltDatabase): Promise<void> {
    const { config, readSettings, log } = this.#options;
    const restored = await publishVault(built, {
      database: this.#settings.database,
      roots: vaultRoots(this.#settings.paths, config.files.include),
      location: config.store,
      store: retrying(this.#store),
      at: undefined,
      isExact: false,
      onProgress: ({ bytes, bytesTotal }) =>
        this.#reporter.noteRestoring({ bytesDone: bytes, bytesTotal }),
      signal: this.#stop,
    });
    log.info(`restored the vault's files: ${describeFiles(restored)}`);
    warnOfFiles(restored, log);
    // A `config.json` may have come with it, and beats the environment.
    this.#settings = requireSamePlaces(this.#settings, readSettings());
    const { url, aliveUrl } = this.#settings;
    this.#status.update({ url, aliveUrl });
  }

  /** The key that signs logins is there, and stored, before anybody can log in. */
  async #beginFiles(replication: Replication): Promise<void> {
    const { captured, epoch } = await replication.status();
    if (captured !== undefined) this.#place.begin(captured.txid);
    // Without the epoch, nothing can be stored yet anyway.
    else if (epoch !== null) {
      await Promise.race([this.#place.known, replication.ended, aborted(this.#stop)]);
    }
    if (this.#stop.aborted || this.#fencedBy !== undefined) return;
    try {
      await this.#files.begin(this.#stop);
    } catch (error) {
      if (!this.#stop.aborted) throw error;
    }
  }

  async #startServer(): Promise<ServerProcess> {
    const { server: command, environment, log } = this.#options;
    const settings = this.#settings;
    const server = await startServer({
      command: command.command,
      arguments: command.arguments,
      environment: childEnvironment(environment, settings.databaseConnInit),
    });
    log.info(`started the vault as process ${server.pid}: ${command.description}`);
    this.#status.update({ server: identifyProcess(server.pid) });
    void this.#whenAlive(server);
    return server;
  }

  /** Before it answers, its start-up hooks may still run, and what they export is not in its environment yet. */
  async #whenAlive(server: ServerProcess): Promise<void> {
    const { log } = this.#options;
    const settings = this.#settings;
    const ended = new AbortController();
    void server.exited.then(() => ended.abort());
    const ms = await waitUntilAlive(settings.aliveUrl, AbortSignal.any([this.#stop, ended.signal]));
    if (ms === undefined) return;
    const found = readChildEnviron(server.pid);
    if ("unreadable" in found) {
      log.warn(
        `whether the vault's start-up hooks changed its settings is not known: its environment cannot be read (${found.unreadable})`,
      );
    } else {
      const problems = environmentDisagreements(settings, {
        environment: found.environment,
        workingDirectory: process.cwd(),
        readTextFile: (path) => readFileSync(path, "utf8"),
      });
      for (const problem of problems) log.error(formatProblem(problem));
      if (problems.length > 0) return this.#disagreeing.resolve("disagreed");
    }
    log.info(`the vault listens on ${settings.url} (ready after ${formatDuration(ms)})`);
  }

  /** @throws the error that ended the stream. */
  async #firstEnding(server: ServerProcess | undefined, { ended }: Replication): Promise<Ending> {
    const asked = aborted(this.#stop).then((): Ending => "asked");
    return Promise.race([
      this.#fencing.promise,
      this.#disagreeing.promise,
      asked,
      ...(server === undefined ? [] : [server.exited]),
      ended.then(() => asked),
    ]);
  }

  /** The vault first; then what it wrote last goes onto a branch. To stop the stream at once would cut that short. */
  async #branch(server: ServerProcess | undefined, replication: Replication): Promise<void> {
    const { config, log } = this.#options;
    log.error("ending the vault: what it takes from now on would only be on a branch");
    await server?.stop(this.#settings.stopGraceMs);
    const timeLimit = AbortSignal.timeout(config.tailTimeoutMs);
    try {
      await replication.flush({ signal: AbortSignal.any([this.#stop, timeLimit]) });
    } catch {
      // Asked to end, no time left, or the stream has failed: the end says what is not stored.
    }
  }

  /** @returns the exit code that says whether everything is stored. */
  async #end(server: ServerProcess | undefined, replication: Replication): Promise<number> {
    const { config, log } = this.#options;
    const beganMs = performance.now();
    const ending = await shutDown(
      { server, replication, files: this.#files },
      {
        totalMs: config.shutdownTimeoutMs,
        serverMs: this.#settings.stopGraceMs,
        tailMs: config.tailTimeoutMs,
        filesMs: config.files.pushTimeoutMs,
      },
    );
    const { server: exit, stream, files: unstored } = ending;
    this.#reporter.stop();
    if (exit?.killed === true) {
      log.warn("the vault did not end in time and was killed; what it had committed is kept");
    }
    if (!stream.released) log.error(describeUnstored(stream));
    if (unstored !== undefined) log.error(describeUnstoredFiles(unstored));
    const isStored = stream.released && unstored === undefined;
    if (this.#fencedBy !== undefined) return this.#stayFenced(finalPosition(stream));
    this.#status.update({
      status: isStored ? "shutdown" : "error",
      server: null,
      ...finalPosition(stream),
    });
    if (!isStored) return exitCodes.failed;
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
