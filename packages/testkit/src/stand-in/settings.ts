/**
 * The part of the server's configuration that its behaviour here depends on, parsed as the server does: `X` or `X_FILE`, overridden by
 * `config.json`; a value of the wrong type is ignored without a word.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { readConfigFile } from "./config-file.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export interface Settings {
  readonly dataFolder: string;
  readonly configPath: string;
  readonly attachmentsFolder: string;
  readonly sendsFolder: string;
  readonly tmpFolder: string;
  /** With `.pem`. */
  readonly rsaKeyPath: string;
  readonly databasePath: string;
  readonly databaseReadOnly: boolean;
  readonly enableDbWal: boolean;
  readonly dbConnectionRetries: number;
  readonly databaseTimeoutMs: number;
  readonly databaseIdleTimeoutMs: number;
  readonly databaseMinConns: number;
  readonly databaseMaxConns: number;
  /** Run on each connection of the pool. */
  readonly databaseConnInit: string;
  readonly jobPollIntervalMs: number;
  readonly passwordIterations: number;
  readonly signupsAllowed: boolean;
  /** Compared as it is: no Argon2 here. */
  readonly adminToken: string | undefined;
  readonly logFile: string | undefined;
  readonly logsInfo: boolean;
  readonly domainOrigin: string;
  /** Without a slash at the end; empty for the root. */
  readonly basePath: string;
  readonly address: string;
  readonly port: number;
  readonly shutdownGraceMs: number;
  readonly shutdownMercyMs: number;
  /** Of ours, for tests: an upload is copied to its final name in pieces of so many bytes … */
  readonly uploadChunkBytes: number;
  /** … with a pause before each. */
  readonly uploadChunkMs: number;
}

/** The start ends here, with the exit code that the server has for it. */
export class StartFailure extends Error {
  override readonly name = "StartFailure";
  /** 1 a start check failed, 12 configuration invalid, 101 panic, 255 `ENV_FILE`. */
  readonly exitCode: 1 | 12 | 101 | 255;

  constructor(
    message: string,
    options: { readonly exitCode: 1 | 12 | 101 | 255; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode;
  }
}

const builtInConnInit = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL;";

/** Reads the settings. The data folder is created if it is missing, in silence, as the server does. @throws {StartFailure} */
export function readSettings(processEnvironment: Environment): Settings {
  const environment = { ...readEnvFile(processEnvironment), ...processEnvironment };
  const fromEnvironment = (name: string): string | undefined => readVariable(environment, name);
  const dataFolder = fromEnvironment("DATA_FOLDER") ?? "data";
  mkdirSync(dataFolder, { recursive: true });
  const configPath = fromEnvironment("CONFIG_FILE") ?? join(dataFolder, "config.json");
  const configFile = readConfigFile(configPath);

  const text = (name: string): string | undefined => {
    const configured = configFile[name.toLowerCase()];
    return configured === undefined || configured === null
      ? fromEnvironment(name)
      : String(configured);
  };
  const boolean = (name: string, byDefault: boolean): boolean =>
    parseBoolean(text(name)) ?? byDefault;
  const integer = (name: string, byDefault: number): number =>
    parseInteger(text(name)) ?? byDefault;

  const database = parseDatabaseUrl(text("DATABASE_URL") ?? `sqlite://${dataFolder}/db.sqlite3`);
  const domain = parseDomain(text("DOMAIN") ?? "http://localhost");
  const connInit = text("DATABASE_CONN_INIT");
  const shutdown = environment["ROCKET_SHUTDOWN"] ?? "";
  return {
    dataFolder,
    configPath,
    attachmentsFolder: text("ATTACHMENTS_FOLDER") ?? join(dataFolder, "attachments"),
    sendsFolder: text("SENDS_FOLDER") ?? join(dataFolder, "sends"),
    tmpFolder: text("TMP_FOLDER") ?? join(dataFolder, "tmp"),
    rsaKeyPath: `${text("RSA_KEY_FILENAME") ?? join(dataFolder, "rsa_key")}.pem`,
    databasePath: database.path,
    databaseReadOnly: database.readOnly,
    enableDbWal: boolean("ENABLE_DB_WAL", true),
    dbConnectionRetries: integer("DB_CONNECTION_RETRIES", 15),
    databaseTimeoutMs: integer("DATABASE_TIMEOUT", 30) * 1000,
    databaseIdleTimeoutMs: integer("DATABASE_IDLE_TIMEOUT", 600) * 1000,
    databaseMinConns: integer("DATABASE_MIN_CONNS", 2),
    databaseMaxConns: integer("DATABASE_MAX_CONNS", 10),
    // A value of the user replaces the built-in text, it does not extend it.
    databaseConnInit: connInit === undefined || connInit === "" ? builtInConnInit : connInit,
    jobPollIntervalMs: integer("JOB_POLL_INTERVAL_MS", 30_000),
    passwordIterations: integer("PASSWORD_ITERATIONS", 600_000),
    signupsAllowed: boolean("SIGNUPS_ALLOWED", true),
    adminToken: text("ADMIN_TOKEN") || undefined,
    logFile: text("LOG_FILE"),
    logsInfo: !/^(warn|error|off)$/i.test(text("LOG_LEVEL") ?? "info"),
    domainOrigin: domain.origin,
    basePath: domain.pathname.replace(/\/+$/, ""),
    address: environment["ROCKET_ADDRESS"] || "127.0.0.1",
    port: parsePort(environment["ROCKET_PORT"]),
    shutdownGraceMs: Number(/grace\s*=\s*(\d+)/.exec(shutdown)?.[1] ?? 2) * 1000,
    shutdownMercyMs: Number(/mercy\s*=\s*(\d+)/.exec(shutdown)?.[1] ?? 3) * 1000,
    uploadChunkBytes: parseInteger(environment["STAND_IN_UPLOAD_CHUNK_BYTES"]) || 65_536,
    uploadChunkMs: parseInteger(environment["STAND_IN_UPLOAD_CHUNK_MS"]) ?? 0,
  };
}

/** `ENV_FILE`, or `.env` in the working directory, which may be missing. */
function readEnvFile(environment: Environment): Environment {
  const named = readVariable(environment, "ENV_FILE");
  const path = named ?? ".env";
  try {
    return parseEnv(readFileSync(path, "utf8")) as Environment;
  } catch (cause) {
    if (named === undefined && (cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new StartFailure(`ENV_FILE ${path} cannot be read`, { exitCode: 255, cause });
  }
}

function readVariable(environment: Environment, name: string): string | undefined {
  const value = environment[name];
  const path = environment[`${name}_FILE`];
  if (path === undefined) return value;
  if (value !== undefined) {
    throw new StartFailure(`you should not define both ${name} and ${name}_FILE`, { exitCode: 12 });
  }
  try {
    return readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new StartFailure(`${name}_FILE ${path} cannot be read`, { exitCode: 12, cause });
  }
}

function parseBoolean(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(true|t|yes|y|1)$/i.test(text)) return true;
  return /^(false|f|no|n|0)$/i.test(text) ? false : undefined;
}

function parseInteger(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** `sqlite://X` is the SQLite URI `file:X`; a bare path is literal and must exist. */
function parseDatabaseUrl(url: string): { path: string; readOnly: boolean } {
  if (/^(mysql|postgres(ql)?):/.test(url)) {
    throw new StartFailure("the stand-in has SQLite only", { exitCode: 12 });
  }
  const scheme = "sqlite://";
  const isUri = url.startsWith(scheme);
  const target = isUri ? url.slice(scheme.length) : url;
  if (!isUri && !existsSync(target)) {
    throw new StartFailure(`SQLite database ${target} does not exist`, { exitCode: 12 });
  }
  const [literalPath = "", query = ""] = isUri ? target.split("?") : [target];
  // The directory is looked for under its literal name, while SQLite decodes it.
  if (!existsSync(dirname(literalPath))) {
    throw new StartFailure(`SQLite database directory ${dirname(literalPath)} does not exist`, {
      exitCode: 12,
    });
  }
  return {
    path: isUri ? decodeURIComponent(literalPath) : literalPath,
    readOnly: new URLSearchParams(query).get("mode") === "ro",
  };
}

function parseDomain(domain: string): URL {
  if (!/^https?:\/\//.test(domain) || !URL.canParse(domain)) {
    throw new StartFailure("DOMAIN variable needs to contain the protocol (http, https)", {
      exitCode: 12,
    });
  }
  return new URL(domain);
}

function parsePort(text: string | undefined): number {
  const port = text === undefined ? 8000 : Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new StartFailure(`ROCKET_PORT: invalid value ${JSON.stringify(text)}`, { exitCode: 101 });
  }
  return port;
}
