import { isDeepStrictEqual } from "node:util";
import { nearestName } from "wal-replicator/command-line";
import type { ConfigProblem } from "./config-problem.ts";
import type { Environment, ReadTextFile } from "./environment.ts";
import { laterParts, ourPrefixes } from "./later-variables.ts";
import { findRcloneProblems } from "./rclone-flags.ts";
import type { ReadVariables } from "./store-config.ts";
import type { Variable } from "./variable.ts";
import { variables } from "./variables.ts";

/** What a name was given as: the text, and where it came from. */
interface Given {
  readonly name: string;
  readonly text: string;
}

/** How a text is taken from the environment: a variable of ours, or the name of a part that comes later. */
type Reading = Pick<Variable, "isSecret" | "emptyIsSet">;

/** Reads variables one by one and keeps every problem, each of them once. No secret gets into one. */
export class ConfigReader implements ReadVariables {
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

  /** Takes the variable from its own name, another tool's, or one of the past; all of them must say the same. */
  read(variable: Variable): void {
    const { name: ownName, aliases = [], oldNames = [], defaultText } = variable;
    const errorsBefore = this.errors.length;
    const given = [ownName, ...aliases, ...oldNames]
      .map((name) => this.#given(name, variable))
      .filter((found) => found !== undefined);
    if (given.length > 0 || this.errors.length > errorsBefore) this.#givenNames.add(ownName);
    else if (defaultText !== undefined) given.push({ name: ownName, text: defaultText });
    const parsed = given.map((found) => ({ ...found, value: this.#parse(variable, found) }));
    const [first] = parsed;
    for (const { name, text, value } of parsed) {
      if (aliases.includes(name)) this.#aliasesInUse.push(`${name} = ${ownName}`);
      if (oldNames.includes(name)) this.#warnOfOldName(name, ownName);
      if (first === undefined || isDeepStrictEqual(value, first.value)) continue;
      this.errors.push({
        name,
        ...printable(variable, text),
        reason: `it is another name of ${ownName}, which says something else`,
        remedy: `keep ${ownName} alone`,
      });
    }
    if (this.errors.length > errorsBefore) this.#failedNames.add(ownName);
    else this.#values.set(ownName, first?.value);
  }

  /** Call it after all variables are read. */
  refuseLaterParts(): void {
    const prefix = String(this.value("S3_PREFIX") ?? "");
    for (const { part, remedy, refused, idle = [], asksForNothing } of laterParts) {
      for (const name of refused) {
        const text = this.#given(name, { isSecret: true })?.text;
        if (text === undefined || asksForNothing?.(text, prefix) === true) continue;
        this.errors.push({ name, reason: `${part} with a later release`, remedy });
      }
      const idleNames = idle.filter((name) => this.#given(name, { isSecret: true }) !== undefined);
      if (idleNames.length === 0) continue;
      this.warnings.push({
        name: idleNames.join(", "),
        reason: `without effect: ${part} with a later release`,
        remedy: "remove it, or leave it for then",
      });
    }
    const rclone = findRcloneProblems(this.#environment);
    this.errors.push(...rclone.errors);
    this.warnings.push(...rclone.warnings);
  }

  warnOfTailscale(): void {
    if (!/^(true|t|yes|y|1|on)$/i.test(this.#environment["TAILSCALE_ENABLED"] ?? "")) return;
    this.warnings.push({
      name: "TAILSCALE_ENABLED",
      reason: "it is ignored: the vault is not on the tailnet",
      remedy: "run Tailscale beside it",
    });
  }

  /** Call it after all variables are read. */
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
      ...variables.flatMap(({ name, aliases = [], oldNames = [] }) => [
        name,
        ...aliases,
        ...oldNames,
      ]),
      ...laterParts.flatMap(({ refused, idle = [] }) => [...refused, ...idle]),
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

  #warnOfOldName(name: string, ownName: string): void {
    this.warnings.push({
      name,
      reason: "it is the spelling of a past version, and still good",
      remedy: `write ${ownName}`,
    });
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

  #given(name: string, reading: Reading): Given | undefined {
    const emptyIsSet = reading.emptyIsSet === true;
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
        // Somebody may have written the secret itself where its file belongs.
        ...(reading.isSecret === true ? {} : { value: path }),
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
