import { join } from "node:path";
import type { ConfigProblem } from "./config-problem.ts";
import { sqlitePathOf } from "./database-url.ts";
import type { Environment, ReadTextFile } from "./environment.ts";
import { findServerPaths, type ServerPaths } from "./server-paths.ts";
import { findServerUrls, type ServerUrls } from "./server-url.ts";
import { goneServerVariables } from "./server-variables.ts";
import { SettingLookup } from "./setting-lookup.ts";

/** The few settings of Vaultwarden that decide what we store and how we run it, resolved as the server resolves them. */
export interface ServerSettings extends ServerUrls {
  /** Absolute path of the SQLite database. */
  readonly database: string;
  readonly paths: ServerPaths;
  /** What the server would run on each new connection; ours is appended to it for the child. */
  readonly databaseConnInit: string;
  /** How long the server may take to stop: at least 10 s, more if `ROCKET_SHUTDOWN` allows itself more. */
  readonly stopGraceMs: number;
  /** How often its jobs are looked at; 0: they are off. */
  readonly jobPollIntervalMs: number;
  /** Whether it logs the line that says it is ready. Without it only `aliveUrl` tells. */
  readonly logsReadyLine: boolean;
  /** What is taken from the mode of new files, as `/start.sh` of the image sets it; undefined: whatever it inherits. */
  readonly umask: number | undefined;
}

export interface ServerSettingsReading {
  /** Undefined if there are errors. */
  readonly settings: ServerSettings | undefined;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
}

/** Vaultwarden's own text, in force while `DATABASE_CONN_INIT` is empty. */
export const builtInConnInit = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL;";

/**
 * @param workingDirectory - of the server, where relative paths start; it shares ours.
 *
 * `config.json` may come with a restore: read the settings again before the server starts.
 */
export function readServerSettings(
  environment: Environment,
  workingDirectory: string,
  readTextFile: ReadTextFile,
): ServerSettingsReading {
  const lookup = new SettingLookup({ environment, workingDirectory, readTextFile });
  const { paths, errors: pathErrors, warnings: pathWarnings } = findServerPaths(lookup);
  const database = sqlitePathOf(
    lookup.text("DATABASE_URL") ??
      `sqlite://${join(lookup.text("DATA_FOLDER") ?? "data", "db.sqlite3")}`,
  );
  const databaseErrors: ConfigProblem[] = [];
  if ("reason" in database) {
    // Not its value: the URL of a server database holds a password.
    databaseErrors.push({ name: "DATABASE_URL", ...database });
  }
  const stated = {
    paths,
    databaseConnInit: lookup.text("DATABASE_CONN_INIT") || builtInConnInit,
    stopGraceMs: stopGraceMs(lookup.plain("ROCKET_SHUTDOWN")),
    jobPollIntervalMs: parseServerInteger(lookup.text("JOB_POLL_INTERVAL_MS")) ?? 30_000,
    logsReadyLine: /^(trace|debug|info)(,|$)/i.test(lookup.text("LOG_LEVEL") ?? "info"),
    umask: parseUmask(environment["UMASK"]),
    ...findServerUrls(lookup),
  };
  const unusable = findUnusable(lookup);
  const errors = [...lookup.errors, ...unusable, ...databaseErrors, ...pathErrors];
  const warnings = [...lookup.warnings, ...pathWarnings, ...findGone(lookup)];
  if (errors.length > 0 || "reason" in database) return { settings: undefined, errors, warnings };
  return {
    errors,
    warnings,
    settings: { ...stated, database: lookup.resolve(database.path) },
  };
}

/** Vaultwarden's words; anything else is unset. */
export function parseServerBoolean(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(true|t|yes|y|1)$/i.test(text)) return true;
  if (/^(false|f|no|n|0)$/i.test(text)) return false;
  return undefined;
}

/** A number that does not parse is unset, too. */
function parseServerInteger(text: string | undefined): number | undefined {
  return text !== undefined && /^\+?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Settings under which there is nothing to stream, or the server would work against us. */
function findUnusable(lookup: SettingLookup): readonly ConfigProblem[] {
  const errors: ConfigProblem[] = [];
  if (parseServerBoolean(lookup.text("ENABLE_DB_WAL")) === false) {
    errors.push({
      name: "ENABLE_DB_WAL",
      value: "false",
      reason:
        "without a write-ahead log there is nothing to stream; it is mostly set where the data lies on a network share, and SQLite is not safe there",
      remedy: "put DATA_FOLDER on a local disk and remove it",
    });
  }
  if (lookup.isInConfigFile("DATABASE_CONN_INIT")) {
    errors.push({
      name: "DATABASE_CONN_INIT",
      reason: `${lookup.configFile} sets it too and would win, so the server would run checkpoints of its own`,
      remedy: "remove database_conn_init from that file and set the variable instead",
    });
  }
  return errors;
}

function findGone(lookup: SettingLookup): readonly ConfigProblem[] {
  const gone = goneServerVariables.filter((name) => lookup.plain(name) !== undefined);
  if (gone.length === 0) return [];
  return [
    {
      name: gone.join(", "),
      reason: "without effect since Vaultwarden 1.31.0, which serves WebSockets on its only port",
      remedy: "remove it, and no proxy needs a second port",
    },
  ];
}

/** Rocket waits grace + mercy + 1 s at most; the rest is for a server under load. */
function stopGraceMs(rocketShutdown: string | undefined): number {
  const seconds = (name: string, standard: number): number => {
    const found = new RegExp(`${name}\\s*=\\s*(\\d{1,4})`).exec(rocketShutdown ?? "")?.[1];
    return found === undefined ? standard : Number(found);
  };
  return Math.max(10, seconds("grace", 2) + seconds("mercy", 3) + 5) * 1_000;
}

function parseUmask(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-7]{1,4}$/.test(text)
    ? Number.parseInt(text, 8) & 0o777
    : undefined;
}
