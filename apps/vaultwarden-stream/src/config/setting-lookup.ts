import { join, resolve } from "node:path";
import { type ConfigFileReading, parseConfigFile } from "./config-file.ts";
import type { ConfigProblem } from "./config-problem.ts";
import { EnvFileError, parseEnvFile } from "./env-file.ts";
import type { Environment, ReadTextFile } from "./environment.ts";

/** Where the server's settings come from. */
export interface SettingsSource {
  readonly environment: Environment;
  /** Relative paths start there; the server shares it with us. */
  readonly workingDirectory: string;
  readonly readTextFile: ReadTextFile;
}

/**
 * The effective values of the server's settings: `config.json`, if the server accepts it → `X` or `X_FILE` in the environment → the file
 * `ENV_FILE` (`.env`), for names that the environment does not have. Undefined is the server's default; an empty text is a value.
 *
 * What keeps the server from starting, or leaves open which value it would take, is an error, once per name.
 */
export class SettingLookup {
  /** Absolute. */
  readonly configFile: string;
  readonly errors: ConfigProblem[] = [];
  readonly warnings: ConfigProblem[] = [];
  readonly #source: SettingsSource;
  readonly #envFile: Environment;
  readonly #config: ConfigFileReading;

  constructor(source: SettingsSource) {
    this.#source = source;
    this.#envFile = {};
    this.#envFile = this.#readEnvFile();
    const dataFolder = this.#fromEnvironment("DATA_FOLDER") ?? "data";
    const configFile = this.#fromEnvironment("CONFIG_FILE") ?? join(dataFolder, "config.json");
    this.configFile = this.resolve(configFile);
    if (isInS3(configFile)) {
      this.#refuse({
        name: "CONFIG_FILE",
        value: configFile,
        reason: "it lies in S3, so it is not seen here whether it moves the database",
        remedy: "name a file on this machine",
      });
    }
    this.#config = this.#readConfigFile();
  }

  resolve(path: string): string {
    return resolve(this.#source.workingDirectory, path);
  }

  /** Whether `config.json` has the last word on it. */
  isInConfigFile(name: string): boolean {
    return this.#config.isAccepted && this.#config.values.has(name.toLowerCase());
  }

  /** A setting of the server. */
  text(name: string): string | undefined {
    const key = name.toLowerCase();
    if (this.#config.isAccepted) {
      return this.#config.values.get(key) ?? this.#fromEnvironment(name);
    }
    if (this.#config.keys.includes(key)) {
      this.#refuse({
        name,
        reason: `${this.configFile} sets it, but the server ignores that file: ${this.#config.reason}`,
        remedy: `repair the file, or remove ${key} from it`,
      });
    }
    return this.#fromEnvironment(name);
  }

  /** A setting of Rocket: neither `config.json` nor `_FILE` has it. */
  plain(name: string): string | undefined {
    return this.#source.environment[name] ?? this.#envFile[name];
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
      return this.#source.readTextFile(this.resolve(path)).trim();
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
    const given = this.#fromEnvironment("ENV_FILE");
    const path = this.resolve(given ?? ".env");
    try {
      return parseEnvFile(this.#source.readTextFile(path), this.#source.environment);
    } catch (error) {
      // Only a file that was asked for has to be there. Whatever else is wrong with it, the server ends with 255.
      if (given === undefined && codeOf(error) === "ENOENT") return {};
      this.#refuse({
        name: "ENV_FILE",
        value: path,
        reason:
          error instanceof EnvFileError ? error.message : `it cannot be read (${codeOf(error)})`,
        remedy: "correct it, or name a file that this user can read",
      });
      return {};
    }
  }

  #readConfigFile(): ConfigFileReading {
    const nothing = { isAccepted: true, values: new Map<string, string>() } as const;
    let reading: ConfigFileReading;
    try {
      reading = parseConfigFile(this.#source.readTextFile(this.configFile));
    } catch (error) {
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") {
        this.#refuse({
          name: "CONFIG_FILE",
          value: this.configFile,
          reason: `it cannot be read (${codeOf(error)})`,
          remedy: "name a file that this user can read",
        });
      }
      return nothing;
    }
    if (!reading.isAccepted) {
      this.warnings.push({
        name: "CONFIG_FILE",
        value: this.configFile,
        reason: `${reading.reason}, so the server will ignore all of it`,
        remedy: "repair it: the admin page's settings are not in force",
      });
    }
    return reading;
  }

  #refuse(problem: ConfigProblem): void {
    // A setting may be looked up more than once.
    if (!this.errors.some(({ name }) => name === problem.name)) this.errors.push(problem);
  }
}

/** As builds of the server with S3 have it; the official image is none. */
export function isInS3(path: string): boolean {
  return path.startsWith("s3://");
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
