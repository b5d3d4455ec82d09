import { readFileSync } from "node:fs";
import type { ConfigProblem } from "../config/config-problem.ts";
import type { Environment } from "../config/environment.ts";
import { readServerSettings, type ServerSettings } from "../config/server-settings.ts";
import type { SettingsSource } from "../config/setting-lookup.ts";
import { childConnInit } from "./child-environment.ts";

/**
 * What the server really runs with. Its start-up hooks (`/etc/vaultwarden.d/*.sh`) may export settings that we never saw: another database,
 * which nobody streams, or other statements for its connections, and it checkpoints beside us.
 */
export type ChildEnviron =
  | { readonly environment: Environment }
  /** Not known, which is no agreement: there is no `/proc`, the process has ended, or it belongs to somebody else. */
  | { readonly unreadable: string };

/**
 * Reads the environment that a process was executed with. `/start.sh` executes the server in its own process, last of all: ask once the server
 * answers, or it is the shell's environment.
 */
export function readChildEnviron(pid: number): ChildEnviron {
  let bytes: string;
  try {
    bytes = readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch (error) {
    return { unreadable: (error as NodeJS.ErrnoException).code ?? String(error) };
  }
  // So it reads for a zombie, and for an instant while a process executes another file.
  if (bytes === "") return { unreadable: "it is empty" };
  const entries = bytes.split("\0").filter((entry) => entry.includes("="));
  return {
    environment: Object.fromEntries(
      entries.map((entry) => {
        const end = entry.indexOf("=", 1);
        return [entry.slice(0, end), entry.slice(end + 1)];
      }),
    ),
  };
}

/** What of the settings must be the same on both sides, under the names that it is set by. */
const depended: Readonly<
  Record<string, (settings: ServerSettings) => string | number | undefined>
> = {
  DATABASE_URL: ({ database }) => database,
  DATABASE_CONN_INIT: ({ databaseConnInit }) => databaseConnInit,
  DATA_FOLDER: ({ paths }) => paths.dataFolder,
  ATTACHMENTS_FOLDER: ({ paths }) => paths.attachments,
  SENDS_FOLDER: ({ paths }) => paths.sends,
  ICON_CACHE_FOLDER: ({ paths }) => paths.iconCache,
  RSA_KEY_FILENAME: ({ paths }) => paths.rsaKey,
  CONFIG_FILE: ({ paths }) => paths.configFile,
  TEMPLATES_FOLDER: ({ paths }) => paths.templates,
  TMP_FOLDER: ({ paths }) => paths.tmp,
  LOG_FILE: ({ paths }) => paths.logFile,
  WEB_VAULT_FOLDER: ({ paths }) => paths.webVault,
  "DOMAIN, ROCKET_ADDRESS, ROCKET_PORT, ROCKET_TLS": ({ aliveUrl }) => aliveUrl,
  ROCKET_SHUTDOWN: ({ stopGraceMs }) => stopGraceMs,
  JOB_POLL_INTERVAL_MS: ({ jobPollIntervalMs }) => jobPollIntervalMs,
  UMASK: ({ umask }) => umask,
};

/**
 * Where the server runs with other settings than the daemon reckons with. Then the server has to be stopped: whatever it takes might be
 * stored nowhere.
 *
 * @param ours - as they were resolved before the start, from our environment.
 * @param theirs - its environment as {@link readChildEnviron} found it, with the same working directory and files.
 */
export function environmentDisagreements(
  ours: ServerSettings,
  theirs: SettingsSource,
): readonly ConfigProblem[] {
  const { environment, workingDirectory, readTextFile } = theirs;
  const found = readServerSettings(environment, workingDirectory, readTextFile);
  const { settings } = found;
  if (settings === undefined) return found.errors;
  const expected = { ...ours, databaseConnInit: childConnInit(ours.databaseConnInit) };
  return Object.entries(depended).flatMap(([name, read]) => {
    const [here, there] = [read(expected), read(settings)];
    if (here === there) return [];
    return [
      {
        name,
        reason: `the daemon reckons with ${JSON.stringify(here)}, and the vault runs with ${JSON.stringify(there)}: a start-up hook or config.json has changed it`,
        remedy: "set it where both see it, in the container's environment",
      },
    ];
  });
}
