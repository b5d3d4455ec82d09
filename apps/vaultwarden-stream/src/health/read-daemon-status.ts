import { readFileSync } from "node:fs";
import { usageError } from "wal-replicator/command-line";
import type { Environment } from "../config/config.ts";
import { formatProblem } from "../config/config-problem.ts";
import { readServerSettings, type ServerSettings } from "../config/server-settings.ts";
import { type DaemonStatus, readStatusFile } from "../daemon/status-file.ts";

/**
 * What the daemon says about itself, found by the vault's settings alone: those of the store are not asked for, so that it also works for
 * who has no credentials.
 *
 * @returns `status` undefined: no daemon has run on this database. @throws {CommandError} `USAGE`
 */
export function readDaemonStatus(environment: Environment): {
  readonly settings: ServerSettings;
  readonly status: DaemonStatus | undefined;
} {
  const { settings, errors } = readServerSettings(environment, process.cwd(), (path) =>
    readFileSync(path, "utf8"),
  );
  if (settings === undefined) {
    throw usageError(
      "the vault's settings do not say where its database is",
      errors.map(formatProblem).join("; "),
      errors[0]?.remedy ?? "see --help",
    );
  }
  return { settings, status: readStatusFile(settings.database) };
}
