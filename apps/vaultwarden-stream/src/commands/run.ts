import type { CommandLineStreams, CommandSpec, LogLevel } from "wal-replicator/command-line";
import type { Environment } from "../config/environment.ts";
import type { ServerSettings } from "../config/server-settings.ts";
import { type ChildCommand, findChildCommand } from "../daemon/child-command.ts";
import { runDaemon } from "../daemon/daemon.ts";
import { stopSignal } from "../stop-signal.ts";
import { readEverything } from "./read-settings.ts";

interface RunOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly logLevel?: LogLevel;
  readonly takeOver?: true;
}

export const runCommand: CommandSpec<RunOptions> = {
  name: "run",
  summary: "start the vault and stream its database to the store until SIGTERM or SIGINT",
  args: [],
  options: [
    {
      flags: "--take-over",
      description:
        "do not wait for another machine that still holds the store: it is fenced, and what it has not stored becomes a branch",
    },
  ],
  examples: [
    "STORE_DIR=/mnt/backup DATA_FOLDER=/data vaultwarden-stream run",
    "docker run --env-file .env -v vault:/data …    # with S3_BUCKET, S3_ENDPOINT and the keys in it",
  ],
  doing: () => "running the vault",
  run: ({ options, streams }) =>
    runVault(streams.env, streams, {
      ...(options.json === true ? { format: "json" } : {}),
      ...(options.quiet === true ? { level: "error" } : {}),
      ...(options.logLevel === undefined ? {} : { level: options.logLevel }),
      takesOver: options.takeOver === true,
    }),
};

/**
 * Reads the configuration and runs the daemon with it until it ends.
 *
 * @param overrides.standIn - started if there is no real server; only in a checkout.
 * @param overrides.takesOver - does not wait for another owner's lease. Serverless never does.
 * @returns the exit code. @throws {CommandError} `USAGE` if the configuration cannot be used; every problem was said before.
 */
export async function runVault(
  environment: Environment,
  streams: CommandLineStreams,
  overrides: {
    readonly level?: LogLevel;
    readonly format?: "text" | "json";
    readonly standIn?: ChildCommand;
    readonly takesOver?: boolean;
  } = {},
): Promise<number> {
  // A log that cannot be written (its reader is gone, its disk is full) is no reason to stop a vault.
  for (const stream of [streams.stdout, streams.stderr]) {
    stream.removeAllListeners("error");
    stream.on("error", () => {});
  }
  const { config, settings, log } = readEverything(environment, streams, overrides);
  const server = findChildCommand(config.vaultwardenBin, environment, overrides.standIn);
  // Ends with the process: until then no signal may end us in the middle.
  const isTakenOver = overrides.takesOver === true || config.deploymentMode === "serverless";
  const ifHeld = isTakenOver ? "take-over" : "wait";
  const readAgain = (): ServerSettings => readEverything(environment, streams, overrides).settings;
  return runDaemon(
    { config, settings, readSettings: readAgain, server, environment, ifHeld, log },
    stopSignal(log),
  );
}
