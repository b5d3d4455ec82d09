import { dirname, join, resolve } from "node:path";
import { parseEnv } from "node:util";
import type { Environment, ReadTextFile } from "./config.ts";
import type { ConfigProblem } from "./config-problem.ts";

/**
 * The few settings of Vaultwarden that decide what we stream and how we stop it, resolved as the server resolves them:
 * `config.json` → `X` or `X_FILE` in the environment → the file `ENV_FILE` → default. Relative paths start at the working directory,
 * which the server shares with us.
 */
export interface ServerSettings {
  readonly dataFolder: string;
  /** Absolute path of the SQLite database. */
  readonly database: string;
  /** What the server would run on each new connection; ours is appended to it for the child. */
  readonly databaseConnInit: string;
  /** How long the server may take to stop: at least 10 s, more if `ROCKET_SHUTDOWN` allows itself more. */
  readonly stopGraceMs: number;
  /** Where the server listens, for people: `http://127.0.0.1:8000`. */
  readonly url: string;
  /** Answers 200 once the server is ready. */
  readonly aliveUrl: string;
}

export interface ServerSettingsReading {
  /** Undefined if there are errors. */
  readonly settings: ServerSettings | undefined;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
}

/** Vaultwarden's own text, in force while `DATABASE_CONN_INIT` is empty. */
export const builtInConnInit = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL;";

export function readServerSettings(
  environment: Environment,
  workingDirectory: string,
  readTextFile: ReadTextFile,
): ServerSettingsReading {
  const errors: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const lookup = new SettingLookup(environment, workingDirectory, readTextFile, errors, warnings);

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

  const dataFolder = resolve(workingDirectory, lookup.text("DATA_FOLDER") ?? "data");
  const databaseUrl =
    lookup.text("DATABASE_URL") ??
    `sqlite://${join(lookup.text("DATA_FOLDER") ?? "data", "db.sqlite3")}`;
  const path = sqlitePathOf(databaseUrl);
  if ("reason" in path) {
    // Not its value: the URL of a server database holds a password.
    errors.push({ name: "DATABASE_URL", reason: path.reason, remedy: path.remedy });
  }

  const url = listenUrl(lookup);
  if (errors.length > 0 || "reason" in path) return { settings: undefined, errors, warnings };
  return {
    errors,
    warnings,
    settings: {
      dataFolder,
      database: resolve(workingDirectory, path.path),
      databaseConnInit: lookup.text("DATABASE_CONN_INIT") || builtInConnInit,
      stopGraceMs: stopGraceMs(lookup.text("ROCKET_SHUTDOWN")),
      url,
      aliveUrl: `${url}${basePath(lookup.text("DOMAIN"))}/alive`,
    },
  };
}

/** Vaultwarden's words; anything else is unset. */
export function parseServerBoolean(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (/^(true|t|yes|y|1)$/i.test(text.trim())) return true;
  if (/^(false|f|no|n|0)$/i.test(text.trim())) return false;
  return undefined;
}

/** The file that `DATABASE_URL` means. `sqlite://X` is SQLite's URI `file:X`; a bare path is taken as it is. */
export function sqlitePathOf(
  databaseUrl: string,
): { readonly path: string } | { readonly reason: string; readonly remedy: string } {
  const write = "write sqlite:///absolute/path/db.sqlite3, or remove it";
  if (/^(mysql|mariadb|postgres(ql)?):/i.test(databaseUrl)) {
    return {
      reason: "only SQLite can be streamed, and it names another database server",
      remedy: write,
    };
  }
  if (!databaseUrl.startsWith("sqlite://")) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(databaseUrl)) {
      return { reason: "its scheme is not sqlite://", remedy: write };
    }
    return { path: databaseUrl };
  }
  const [location = "", query = ""] = (
    databaseUrl.slice("sqlite://".length).split("#")[0] ?? ""
  ).split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  const mode = parameters.get("mode");
  if (
    (mode !== null && mode !== "rw" && mode !== "rwc") ||
    parameters.has("immutable") ||
    parameters.has("vfs")
  ) {
    return {
      reason: "with mode, immutable or vfs the server would not write to an ordinary file",
      remedy: "remove them from the URL",
    };
  }
  try {
    const path = decodeURIComponent(location);
    if (path === "" || path.includes("\0")) return { reason: "it names no file", remedy: write };
    return { path };
  } catch {
    return { reason: "it has a malformed percent-escape", remedy: write };
  }
}

/** Rocket waits grace + mercy + 1 s at most; the rest is for a server under load. */
function stopGraceMs(rocketShutdown: string | undefined): number {
  const seconds = (name: string, standard: number): number => {
    const found = new RegExp(`${name}\\s*=\\s*(\\d{1,4})`).exec(rocketShutdown ?? "")?.[1];
    return found === undefined ? standard : Number(found);
  };
  return Math.max(10, seconds("grace", 2) + seconds("mercy", 3) + 5) * 1_000;
}

function listenUrl(lookup: SettingLookup): string {
  const scheme = lookup.plain("ROCKET_TLS") ? "https" : "http";
  const given = lookup.plain("ROCKET_ADDRESS") ?? "";
  const address = ["", "0.0.0.0", "::", "localhost"].includes(given) ? "127.0.0.1" : given;
  const port = /^\d{1,5}$/.exec(lookup.plain("ROCKET_PORT") ?? "")?.[0] ?? "8000";
  return `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** Path part of the public URL, without slashes at its end: all routes of the server are below it. */
function basePath(domain: string | undefined): string {
  if (domain === undefined || !URL.canParse(domain)) return "";
  return new URL(domain).pathname.replace(/\/+$/, "");
}

class SettingLookup {
  readonly configFile: string;
  readonly #environment: Environment;
  readonly #readTextFile: ReadTextFile;
  readonly #workingDirectory: string;
  readonly #errors: ConfigProblem[];
  readonly #envFile: Environment;
  readonly #config: Readonly<Record<string, unknown>>;

  constructor(
    environment: Environment,
    workingDirectory: string,
    readTextFile: ReadTextFile,
    errors: ConfigProblem[],
    warnings: ConfigProblem[],
  ) {
    this.#environment = environment;
    this.#readTextFile = readTextFile;
    this.#workingDirectory = workingDirectory;
    this.#errors = errors;
    this.#envFile = this.#readEnvFile();
    const dataFolder = this.#fromEnvironment("DATA_FOLDER") ?? "data";
    this.configFile = resolve(
      workingDirectory,
      this.#fromEnvironment("CONFIG_FILE") ?? join(dataFolder, "config.json"),
    );
    this.#config = this.#readConfigFile(warnings);
  }

  isInConfigFile(name: string): boolean {
    return this.#config[name.toLowerCase()] !== undefined;
  }

  /** A setting of the server. */
  text(name: string): string | undefined {
    const value = this.#config[name.toLowerCase()];
    if (typeof value === "string" || typeof value === "boolean") return String(value);
    return this.#fromEnvironment(name);
  }

  /** A setting of Rocket: neither `config.json` nor `_FILE` has it. */
  plain(name: string): string | undefined {
    return this.#environment[name] ?? this.#envFile[name];
  }

  #fromEnvironment(name: string): string | undefined {
    const text = this.plain(name);
    const path = this.plain(`${name}_FILE`);
    if (path === undefined) return text;
    if (text !== undefined) {
      this.#refuse({
        name,
        reason: `${name}_FILE is set too, and the server would not start`,
        remedy: "keep one of the two",
      });
      return text;
    }
    try {
      return this.#readTextFile(resolve(this.#workingDirectory, path)).trim();
    } catch (error) {
      this.#refuse({
        name: `${name}_FILE`,
        value: path,
        reason: `it cannot be read (${codeOf(error)})`,
        remedy: "name a file that this user can read",
      });
      return undefined;
    }
  }

  #readEnvFile(): Environment {
    const given = this.#environment["ENV_FILE"];
    try {
      return parseEnv(
        this.#readTextFile(resolve(this.#workingDirectory, given ?? ".env")),
      ) as Environment;
    } catch (error) {
      // Only a file that was asked for has to be there; then the server ends with 255 without it.
      if (given !== undefined) {
        this.#refuse({
          name: "ENV_FILE",
          value: given,
          reason: `it cannot be read (${codeOf(error)})`,
          remedy: "name a file that this user can read",
        });
      }
      return {};
    }
  }

  #readConfigFile(warnings: ConfigProblem[]): Readonly<Record<string, unknown>> {
    let text: string;
    try {
      text = this.#readTextFile(this.configFile);
    } catch (error) {
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") {
        this.#refuse({
          name: "CONFIG_FILE",
          value: this.configFile,
          reason: `it cannot be read (${codeOf(error)})`,
          remedy: `make it readable, or look into ${dirname(this.configFile)}`,
        });
      }
      return {};
    }
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        return value as Record<string, unknown>;
      }
    } catch {
      // As below: what the server cannot read, it ignores.
    }
    warnings.push({
      name: "CONFIG_FILE",
      value: this.configFile,
      reason: "it is no JSON object, so the server will ignore all of it",
      remedy: "repair it: the admin page's settings are not in force",
    });
    return {};
  }

  #refuse(problem: ConfigProblem): void {
    // A setting may be looked up more than once.
    if (!this.#errors.some(({ name }) => name === problem.name)) this.#errors.push(problem);
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
