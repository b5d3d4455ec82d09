import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type CommandLineStreams, type LogLevel, usageError } from "wal-replicator/command-line";
import { type Config, readConfig } from "../config/config.ts";
import { type ConfigProblem, formatProblem } from "../config/config-problem.ts";
import type { Environment } from "../config/environment.ts";
import { readServerSettings, type ServerSettings } from "../config/server-settings.ts";
import { createLogger, type Logger } from "../logger.ts";

/** As `readSettings`, for whoever needs all of it; says everything that is wrong. @throws {CommandError} `USAGE` */
export function readEverything(
  environment: Environment,
  streams: CommandLineStreams,
  overrides: { readonly level?: LogLevel; readonly format?: "text" | "json" } = {},
): { readonly config: Config; readonly settings: ServerSettings; readonly log: Logger } {
  const { config, settings, errors, warnings } = readSettings(environment);
  const log = createLogger(streams.stderr, {
    level: overrides.level ?? config?.logLevel ?? "info",
    format: overrides.format ?? config?.logFormat ?? "text",
  });
  for (const problem of warnings) log.warn(formatProblem(problem));
  for (const problem of errors) log.error(formatProblem(problem));
  const [first] = errors;
  if (first !== undefined || config === undefined || settings === undefined) {
    throw usageError(
      `the configuration has ${errors.length === 1 ? "an error" : `${errors.length} errors`}, so nothing was started`,
      errors.map(({ name, reason }) => `${name}: ${reason}`).join("; "),
      first === undefined ? "see --help" : first.remedy,
    );
  }
  return { config, settings, log };
}

/** Our configuration and the vault's settings, and everything that is wrong with either. What cannot be used is undefined. */
export function readSettings(environment: Environment): {
  readonly config: Config | undefined;
  readonly settings: ServerSettings | undefined;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
} {
  const readTextFile = (path: string): string => readFileSync(path, "utf8");
  const reading = readConfig(environment, readTextFile);
  const server = readServerSettings(environment, process.cwd(), readTextFile);
  const { settings } = server;
  const { config } = reading;
  const store = typeof config?.store === "string" ? resolve(config.store) : config?.store;
  return {
    config: config === undefined || store === undefined ? undefined : { ...config, store },
    settings,
    errors: [...reading.errors, ...server.errors, ...compareDatabasePaths(config, settings)],
    warnings: [...reading.warnings, ...server.warnings],
  };
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
