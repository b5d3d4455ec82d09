import { configFileTypes, type ServerIntegerType } from "./server-variables.ts";

/** A `config.json` as the server sees it: all of it, or nothing. */
export type ConfigFileReading =
  | {
      readonly isAccepted: true;
      /** By key; every value as the text that it would be in a variable. `null` is not set. */
      readonly values: ReadonlyMap<string, string>;
    }
  | {
      readonly isAccepted: false;
      readonly reason: string;
      /** What it would have set, as far as it can be read. */
      readonly keys: readonly string[];
    };

/** Reads the file with the server's severity: one known key with the wrong type, or twice, and the whole file does not count. */
export function parseConfigFile(text: string): ConfigFileReading {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { isAccepted: false, reason: "it is not valid JSON", keys: [] };
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    return { isAccepted: false, reason: "it is no JSON object", keys: [] };
  }
  const keys = Object.keys(parsed);
  const values = new Map<string, string>();
  const seen = new Set<string>();
  for (const [key, token] of topLevelEntries(text)) {
    const type = configFileTypes.get(key);
    if (type === undefined) continue; // the server skips what it does not know
    if (seen.has(key)) return { isAccepted: false, reason: `it has ${key} twice`, keys };
    seen.add(key);
    if (token === "null") continue;
    const value = textOf(token, type);
    if (value === undefined) {
      return { isAccepted: false, reason: `its ${key} is not of type ${type}`, keys };
    }
    values.set(key, value);
  }
  return { isAccepted: true, values };
}

/** @param token - the value as it is written, or the bracket that begins it. */
function textOf(token: string, type: "text" | "boolean" | ServerIntegerType): string | undefined {
  if (type === "boolean") return token === "true" || token === "false" ? token : undefined;
  if (type === "text") {
    if (!token.startsWith('"')) return undefined;
    const value = JSON.parse(token) as string;
    return value.isWellFormed() ? value : undefined;
  }
  return /^-?\d+$/.test(token) && isInRange(BigInt(token), type) ? token : undefined;
}

function isInRange(value: bigint, type: ServerIntegerType): boolean {
  const bits = BigInt(type.slice(1));
  return type.startsWith("u")
    ? value >= 0n && value < 1n << bits
    : value >= -(1n << (bits - 1n)) && value < 1n << (bits - 1n);
}

/**
 * Keys and first tokens of the values, in order, doubled keys and all: `JSON.parse` keeps the last of two and turns `1.0` into 1.
 *
 * @param text - a valid JSON object.
 */
function* topLevelEntries(text: string): Generator<readonly [key: string, token: string]> {
  let depth = 0;
  let key: string | undefined;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
    if (token === "}" || token === "]") depth -= 1;
    else if (depth === 1 && key === undefined) {
      if (token !== ",") key = JSON.parse(token) as string;
    } else if (depth === 1 && key !== undefined && token !== ":") {
      yield [key, token];
      key = undefined;
    }
    if (token === "{" || token === "[") depth += 1;
  }
}
