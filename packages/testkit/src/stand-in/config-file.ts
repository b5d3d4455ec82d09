/** `config.json` as the server takes it: wholly, or in silence not at all. It is written by truncate, write and sync. */
import { readFileSync } from "node:fs";
import { open } from "node:fs/promises";

/** Of the settings that are read here, those that the file is refused for: their type, and whether the admin page may change them. */
const knownSettings: Readonly<
  Record<string, { readonly type: "string" | "boolean" | "number"; readonly editable?: true }>
> = {
  admin_token: { type: "string", editable: true },
  attachments_folder: { type: "string" },
  database_conn_init: { type: "string" },
  database_idle_timeout: { type: "number" },
  database_max_conns: { type: "number" },
  database_min_conns: { type: "number" },
  database_timeout: { type: "number" },
  database_url: { type: "string" },
  db_connection_retries: { type: "number" },
  domain: { type: "string", editable: true },
  enable_db_wal: { type: "boolean" },
  job_poll_interval_ms: { type: "number" },
  log_file: { type: "string" },
  log_level: { type: "string" },
  password_iterations: { type: "number", editable: true },
  rsa_key_filename: { type: "string" },
  sends_folder: { type: "string" },
  signups_allowed: { type: "boolean", editable: true },
  tmp_folder: { type: "string" },
};

type ConfigFile = Readonly<Record<string, unknown>>;

/**
 * What is set in the file, by lower-case names. Bad JSON, a known key that comes twice and a value of the wrong type each drop the whole
 * file, and nobody is told: that is the server's behaviour, which tests of the daemon rely on.
 */
export function readConfigFile(path: string): ConfigFile {
  try {
    const text = readFileSync(path, "utf8");
    const config: unknown = JSON.parse(text);
    return isAccepted(config) && !hasKnownKeyTwice(text) ? config : {};
  } catch {
    return {};
  }
}

/** Stores what the admin page posted, without what it may not change. @throws {TypeError} for what the server would not read again. */
export async function writeConfigFile(path: string, config: unknown): Promise<void> {
  if (!isAccepted(config)) throw new TypeError("a setting of the wrong type");
  const kept = Object.entries(config).filter(
    ([name, value]) => value !== null && knownSettings[name]?.editable === true,
  );
  await using file = await open(path, "w");
  await file.writeFile(JSON.stringify(Object.fromEntries(kept), undefined, 2));
  await file.sync();
}

function isAccepted(config: unknown): config is ConfigFile {
  if (typeof config !== "object" || config === null || Array.isArray(config)) return false;
  return Object.entries(config).every(([name, value]) => {
    const known = knownSettings[name];
    return known === undefined || value === null || typeof value === known.type;
  });
}

/** @param text - a JSON object. */
function hasKnownKeyTwice(text: string): boolean {
  const seen = new Set<string>();
  let depth = 0;
  for (const [token, key] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    else if (key !== undefined && depth === 1) {
      const name = JSON.parse(key) as string;
      if (seen.has(name) && knownSettings[name] !== undefined) return true;
      seen.add(name);
    }
  }
  return false;
}
