import { isDeepStrictEqual } from "node:util";
import { nearestName } from "wal-replicator/command-line";
import type { ConfigProblem } from "./config-problem.ts";
import { type LaterVariable, laterVariables, ourPrefixes } from "./later-variables.ts";
import { assembleStore, type ReadVariables, type StoreConfig } from "./store-config.ts";
import type { Variable } from "./variable.ts";
import { variables } from "./variables.ts";

/**
 * The configuration, from the environment. Everything that is wrong is found in one reading and before anything is started, read
 * from the store or written. Empty is unset, except where it means something (`S3_PREFIX=`) or an accident must not choose
 * (`NODE_ROLE=`).
 */
export interface Config extends StoreConfig {
  /** Which side goes on when both have what the other lacks. */
  readonly onDivergence: "stop" | "local" | "remote";
  /** Serverless: another machine is never waited for, since one instance follows the other; and the grace period is short. */
  readonly deploymentMode: "persistent" | "serverless";
  readonly syncIntervalMs: number;
  /** Budget for shipping the tail after the vault has ended. */
  readonly tailTimeoutMs: number;
  /** The platform's whole grace period. */
  readonly shutdownTimeoutMs: number;
  readonly vaultwardenBin: string | undefined;
  /** Where the predecessor's settings say that the database is; only ever compared. */
  readonly litestreamDbPath: string | undefined;
  readonly logLevel: "error" | "warn" | "info" | "debug";
  readonly logFormat: "text" | "json";
}

export interface ConfigReading {
  /** Undefined if there are errors. */
  readonly config: Config | undefined;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads a file that `NAME_FILE` names. @throws whatever reading it throws. */
export type ReadTextFile = (path: string) => string;

/** What serverless platforms give between SIGTERM and SIGKILL. */
const serverlessShutdownMs = 10_000;

export function readConfig(environment: Environment, readTextFile: ReadTextFile): ConfigReading {
  const reader = new ConfigReader(environment, readTextFile);
  for (const variable of variables) reader.read(variable);
  reader.refuseLaterVariables();
  reader.warnOfAliases();
  reader.warnOfUnknownNames();
  const store = assembleStore(reader);
  const deploymentMode = reader.value("DEPLOYMENT_MODE") as Config["deploymentMode"];
  const isShort = deploymentMode === "serverless" && !reader.isGiven("SHUTDOWN_TIMEOUT");
  const errors = [...reader.errors, ...store.errors];
  const warnings = [...reader.warnings, ...store.warnings];
  if (errors.length > 0 || store.config === undefined) {
    return { config: undefined, errors, warnings };
  }
  return {
    errors,
    warnings,
    config: {
      ...store.config,
      onDivergence: reader.value("ON_DIVERGENCE") as Config["onDivergence"],
      deploymentMode,
      syncIntervalMs: reader.value("REPLICATION_SYNC_INTERVAL") as number,
      tailTimeoutMs: reader.value("REPLICATION_SHUTDOWN_TIMEOUT") as number,
      shutdownTimeoutMs: isShort
        ? serverlessShutdownMs
        : (reader.value("SHUTDOWN_TIMEOUT") as number),
      vaultwardenBin: reader.value("VAULTWARDEN_BIN") as string | undefined,
      litestreamDbPath: reader.value("LITESTREAM_DB_PATH") as string | undefined,
      logLevel: reader.value("STREAM_LOG_LEVEL") as Config["logLevel"],
      logFormat: reader.value("STREAM_LOG_FORMAT") as Config["logFormat"],
    },
  };
}

/** What a name was given as: the text, and where it came from. */
interface Given {
  readonly name: string;
  readonly text: string;
}

class ConfigReader implements ReadVariables {
  readonly errors: ConfigProblem[] = [];
  readonly warnings: ConfigProblem[] = [];
  readonly #environment: Environment;
  readonly #readTextFile: ReadTextFile;
  readonly #aliasesInUse: string[] = [];
  readonly #values = new Map<string, unknown>();
  readonly #givenNames = new Set<string>();
  readonly #failedNames = new Set<string>();

  constructor(environment: Environment, readTextFile: ReadTextFile) {
    this.#environment = environment;
    this.#readTextFile = readTextFile;
  }

  value(name: string): unknown {
    return this.#values.get(name);
  }

  isGiven(name: string): boolean {
    return this.#givenNames.has(name);
  }

  isFailed(name: string): boolean {
    return this.#failedNames.has(name);
  }

  /** Takes the variable from its own name or another tool's; all of them must say the same. */
  read(variable: Variable): void {
    const errorsBefore = this.errors.length;
    const given = [variable.name, ...(variable.aliases ?? [])]
      .map((name) => this.#given(name, variable))
      .filter((found) => found !== undefined);
    const { defaultText } = variable;
    if (given.length > 0 || this.errors.length > errorsBefore) this.#givenNames.add(variable.name);
    else if (defaultText !== undefined) given.push({ name: variable.name, text: defaultText });
    const parsed = given.map((found) => ({ ...found, value: this.#parse(variable, found) }));
    const [first] = parsed;
    for (const { name, text, value } of parsed) {
      if (name !== variable.name) this.#aliasesInUse.push(`${name} = ${variable.name}`);
      if (first === undefined || isDeepStrictEqual(value, first.value)) continue;
      this.errors.push({
        name,
        ...printable(variable, text),
        reason: `it is another name of ${variable.name}, which says something else`,
        remedy: `keep ${variable.name} alone`,
      });
    }
    if (this.errors.length > errorsBefore) this.#failedNames.add(variable.name);
    else this.#values.set(variable.name, first?.value);
  }

  refuseLaterVariables(): void {
    for (const later of laterVariables) {
      const isWanted = later.switch === undefined || this.#asksForSomething(later.switch, later);
      for (const name of this.#laterNames(later)) {
        if (!this.#asksForSomething(name, later)) continue;
        const problem = {
          name,
          reason: `${later.part} with a later release`,
          remedy: later.remedy,
        };
        if (isWanted) this.errors.push(problem);
        else this.warnings.push({ ...problem, reason: `it has no effect: ${problem.reason}` });
      }
    }
    if (/^(true|t|yes|y|1|on)$/i.test(this.#environment["TAILSCALE_ENABLED"] ?? "")) {
      this.warnings.push({
        name: "TAILSCALE_ENABLED",
        reason: "it is ignored: the vault is not on the tailnet",
        remedy: "run Tailscale beside it",
      });
    }
  }

  warnOfAliases(): void {
    if (this.#aliasesInUse.length === 0) return;
    this.warnings.push({
      name: this.#aliasesInUse.join(", "),
      reason: "other names of ours are in use",
      remedy: "they stay good; ours are on the right",
    });
  }

  warnOfUnknownNames(): void {
    const known = new Set<string>([
      ...variables.flatMap((variable) => [variable.name, ...(variable.aliases ?? [])]),
      ...laterVariables.flatMap((later) => later.names),
    ]);
    for (const [name, text] of Object.entries(this.#environment)) {
      if (text === undefined || known.has(name.replace(/_FILE$/, ""))) continue;
      const isEncryption = name.startsWith("ENCRYPTION_");
      if (!isEncryption && !ourPrefixes.some((prefix) => name.startsWith(prefix))) continue;
      const nearest = nearestName(name, known);
      const problem = {
        name,
        reason: "there is no such setting",
        remedy: nearest === undefined ? "remove it" : `did you mean ${nearest}?`,
      };
      // Somebody who believes that the store is encrypted must not be left with a warning.
      if (isEncryption) this.errors.push(problem);
      else this.warnings.push(problem);
    }
  }

  #laterNames(later: LaterVariable): readonly string[] {
    if (!later.names.includes("RCLONE_FLAGS")) return later.names;
    const remotes = Object.keys(this.#environment).filter((n) => n.startsWith("RCLONE_CONFIG_"));
    return [...later.names, ...remotes];
  }

  #asksForSomething(name: string, later: LaterVariable): boolean {
    const text = this.#environment[name] || this.#environment[`${name}_FILE`];
    if (text === undefined || text === "") return false;
    return later.harmless?.includes(text.toLowerCase()) !== true;
  }

  #parse(variable: Variable, { name, text }: Given): unknown {
    const parsed = variable.schema.safeParse(text);
    if (parsed.success) return parsed.data;
    this.errors.push({
      name,
      ...printable(variable, text),
      reason: `it is not ${variable.accepts}`,
      remedy: parsed.error.issues.map((issue) => issue.message).join("; "),
    });
    return undefined;
  }

  #given(name: string, variable: Variable): Given | undefined {
    const emptyIsSet = variable.emptyIsSet === true;
    const text = this.#environment[name];
    const path = this.#environment[`${name}_FILE`];
    const hasText = text !== undefined && (emptyIsSet || text !== "");
    if (path === undefined || path === "") return hasText ? { name, text } : undefined;
    if (hasText) {
      this.errors.push({
        name,
        reason: `${name}_FILE is set too`,
        remedy: "keep one of the two",
      });
      return undefined;
    }
    try {
      const content = this.#readTextFile(path).trimEnd();
      return content === "" && !emptyIsSet ? undefined : { name, text: content };
    } catch (error) {
      this.errors.push({
        name: `${name}_FILE`,
        value: path,
        reason: `it cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
        remedy: "name a file that this user can read",
      });
      return undefined;
    }
  }
}

/** A URL may hold credentials where none belong. */
function printable({ isSecret }: Variable, text: string): { readonly value?: string } {
  if (isSecret === true) return {};
  return { value: text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/i, "$1***@") };
}
