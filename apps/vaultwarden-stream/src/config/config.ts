import { nearestName } from "wal-replicator/command-line";
import { type LaterVariable, laterVariables, ourPrefixes } from "./later-variables.ts";
import { type Variable, variables } from "./variables.ts";

/**
 * The configuration, from the environment. Everything that is wrong is found in one reading and before anything is started, read
 * from the store or written. Empty is unset, except where an accident must not choose (`NODE_ROLE=`).
 */
export interface Config {
  readonly storeDir: string;
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

export interface ConfigProblem {
  readonly name: string;
  /** What was given, if it is safe to print. */
  readonly value?: string;
  readonly reason: string;
  /** What to write instead. */
  readonly remedy: string;
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

export function readConfig(environment: Environment, readTextFile: ReadTextFile): ConfigReading {
  const reader = new ConfigReader(environment, readTextFile);
  const values = new Map<string, unknown>();
  for (const variable of variables) values.set(variable.name, reader.read(variable));
  reader.refuseLaterVariables();
  reader.warnOfAliases();
  reader.warnOfUnknownNames();
  if (values.get("STORE_DIR") === undefined && !reader.failed("STORE_DIR")) {
    reader.errors.push({
      name: "STORE_DIR",
      reason: "there is nowhere to store to",
      remedy: "set STORE_DIR=<directory>, best on another disk than the vault's",
    });
  }
  const { errors, warnings } = reader;
  if (errors.length > 0) return { config: undefined, errors, warnings };
  return {
    errors,
    warnings,
    config: {
      storeDir: values.get("STORE_DIR") as string,
      syncIntervalMs: values.get("REPLICATION_SYNC_INTERVAL") as number,
      tailTimeoutMs: values.get("REPLICATION_SHUTDOWN_TIMEOUT") as number,
      shutdownTimeoutMs: values.get("SHUTDOWN_TIMEOUT") as number,
      vaultwardenBin: values.get("VAULTWARDEN_BIN") as string | undefined,
      litestreamDbPath: values.get("LITESTREAM_DB_PATH") as string | undefined,
      logLevel: values.get("STREAM_LOG_LEVEL") as Config["logLevel"],
      logFormat: values.get("STREAM_LOG_FORMAT") as Config["logFormat"],
    },
  };
}

/** One line for people: the name, what is wrong, what to write instead. */
export function formatProblem({ name, value, reason, remedy }: ConfigProblem): string {
  return `${name}${value === undefined ? "" : `=${JSON.stringify(value)}`}: ${reason}; ${remedy}`;
}

/** What a name was given as: the text, and where it came from. */
interface Given {
  readonly name: string;
  readonly text: string;
}

class ConfigReader {
  readonly errors: ConfigProblem[] = [];
  readonly warnings: ConfigProblem[] = [];
  readonly #environment: Environment;
  readonly #readTextFile: ReadTextFile;
  readonly #aliasesInUse: string[] = [];

  constructor(environment: Environment, readTextFile: ReadTextFile) {
    this.#environment = environment;
    this.#readTextFile = readTextFile;
  }

  failed(name: string): boolean {
    return this.errors.some((problem) => problem.name === name);
  }

  read(variable: Variable): unknown {
    // The role decides who writes: set to nothing by accident, it must not make a primary.
    if (variable.name === "NODE_ROLE" && this.#environment["NODE_ROLE"] === "") {
      this.errors.push({
        name: "NODE_ROLE",
        value: "",
        reason: "an empty role is taken for an accident",
        remedy: "write NODE_ROLE=primary, or remove it",
      });
      return undefined;
    }
    const given = [variable.name, ...(variable.aliases ?? [])]
      .map((name) => this.#given(name))
      .filter((found) => found !== undefined);
    const [first] = given;
    for (const { name, text } of given) {
      if (name !== variable.name) this.#aliasesInUse.push(`${name} = ${variable.name}`);
      if (text !== first?.text) {
        this.errors.push({
          name,
          value: text,
          reason: `it is another name of ${variable.name}, which says ${JSON.stringify(first?.text)}`,
          remedy: `keep ${variable.name} alone`,
        });
      }
    }
    const text = first?.text ?? variable.defaultText;
    if (text === undefined) return undefined;
    const parsed = variable.schema.safeParse(text);
    if (parsed.success) return parsed.data;
    this.errors.push({
      name: first?.name ?? variable.name,
      value: text,
      reason: `it is not ${variable.accepts}`,
      remedy: parsed.error.issues.map((issue) => issue.message).join("; "),
    });
    return undefined;
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

  #given(name: string): Given | undefined {
    const text = this.#environment[name];
    const path = this.#environment[`${name}_FILE`];
    if (text !== undefined && text !== "") {
      if (path === undefined || path === "") return { name, text };
      this.errors.push({
        name,
        reason: `${name}_FILE is set too`,
        remedy: "keep one of the two",
      });
      return undefined;
    }
    if (path === undefined || path === "") return undefined;
    try {
      const content = this.#readTextFile(path).trimEnd();
      return content === "" ? undefined : { name, text: content };
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
