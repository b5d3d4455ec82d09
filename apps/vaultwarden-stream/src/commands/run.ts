import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import {
  type CommandLineStreams,
  type CommandSpec,
  type LogLevel,
  usageError,
} from "wal-replicator/command-line";
import { type Config, type Environment, readConfig } from "../config/config.ts";
import { type ConfigProblem, formatProblem } from "../config/config-problem.ts";
import { readServerSettings, type ServerSettings } from "../config/server-settings.ts";
import { type ChildCommand, findChildCommand } from "../daemon/child-command.ts";
import { runDaemon } from "../daemon/daemon.ts";
import { createLogger, type Logger } from "../logger.ts";
import { stopSignal } from "../stop-signal.ts";

interface RunOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly logLevel?: LogLevel;
  readonly takeOver?: true;
}

export const runCommand: CommandSpec<RunOptions> = {
  name: "run",
  summary: "start the vault and stream its database to the store until SIGTERM or SIGINT",
  args: [],
  options: [
    {
      flags: "--take-over",
      description:
        "do not wait for another machine that still holds the store: it is fenced, and what it has not stored becomes a branch",
    },
  ],
  examples: [
    "STORE_DIR=/mnt/backup DATA_FOLDER=/data vaultwarden-stream run",
    "docker run --env-file .env -v vault:/data …    # with S3_BUCKET, S3_ENDPOINT and the keys in it",
  ],
  doing: () => "running the vault",
  run: ({ options, streams }) =>
    runVault(streams.env, streams, {
      ...(options.json === true ? { format: "json" } : {}),
      ...(options.quiet === true ? { level: "error" } : {}),
      ...(options.logLevel === undefined ? {} : { level: options.logLevel }),
      takesOver: options.takeOver === true,
    }),
};

/**
 * Reads the configuration and runs the daemon with it until it ends.
 *
 * @param overrides.standIn - started if there is no real server; only in a checkout.
 * @param overrides.takesOver - does not wait for another owner's lease. Serverless never does.
 * @returns the exit code. @throws {CommandError} `USAGE` if the configuration cannot be used; every problem was said before.
 */
export async function runVault(
  environment: Environment,
  streams: CommandLineStreams,
  overrides: {
    readonly level?: LogLevel;
    readonly format?: "text" | "json";
    readonly standIn?: ChildCommand;
    readonly takesOver?: boolean;
  } = {},
): Promise<number> {
  // A log that cannot be written (its reader is gone, its disk is full) is no reason to stop a vault.
  for (const stream of [streams.stdout, streams.stderr]) {
    stream.removeAllListeners("error");
    stream.on("error", () => {});
  }
  const { config, settings, log } = readEverything(environment, streams, overrides);
  const server = findChildCommand(config.vaultwardenBin, environment, overrides.standIn);
  // Ends with the process: until then no signal may end us in the middle.
  const isTakenOver = overrides.takesOver === true || config.deploymentMode === "serverless";
  const ifHeld = isTakenOver ? "take-over" : "wait";
  return runDaemon({ config, settings, server, environment, ifHeld, log }, stopSignal(log));
}

/** @throws {CommandError} `USAGE` */
export function readEverything(
  environment: Environment,
  streams: CommandLineStreams,
  overrides: { readonly level?: LogLevel; readonly format?: "text" | "json" } = {},
): { readonly config: Config; readonly settings: ServerSettings; readonly log: Logger } {
  const readTextFile = (path: string): string => readFileSync(path, "utf8");
  const reading = readConfig(environment, readTextFile);
  const server = readServerSettings(environment, process.cwd(), readTextFile);
  const log = createLogger(streams.stderr, {
    level: overrides.level ?? reading.config?.logLevel ?? "info",
    format: overrides.format ?? reading.config?.logFormat ?? "text",
  });
  const { config } = reading;
  const { settings } = server;
  const errors = [...reading.errors, ...server.errors, ...compareDatabasePaths(config, settings)];
  for (const problem of [...reading.warnings, ...server.warnings]) log.warn(formatProblem(problem));
  for (const problem of errors) log.error(formatProblem(problem));
  const [first] = errors;
  if (first !== undefined || config === undefined || settings === undefined) {
    throw usageError(
      `the configuration has ${errors.length === 1 ? "an error" : `${errors.length} errors`}, so nothing was started`,
      errors.map(({ name, reason }) => `${name}: ${reason}`).join("; "),
      first === undefined ? "see --help" : first.remedy,
    );
  }
  const { store } = config;
  const absolute = { ...config, store: typeof store === "string" ? resolve(store) : store };
  return { config: absolute, settings, log };
}

/** The predecessor replicated nothing, in silence, if its path was another than the server's. */
function compareDatabasePaths(
  config: Config | undefined,
  settings: ServerSettings | undefined,
): readonly ConfigProblem[] {
  const given = config?.litestreamDbPath;
  if (given === undefined || settings === undefined || resolve(given) === settings.database)
    return [];
  return [
    {
      name: "LITESTREAM_DB_PATH",
      value: given,
      reason: `the vault's database is ${settings.database}`,
      remedy: "remove it: the path comes from the vault's own settings",
    },
  ];
}
