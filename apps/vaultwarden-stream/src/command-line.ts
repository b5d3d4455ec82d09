import {
  type AnyCommandSpec,
  type CommandLineStreams,
  runCommandLine,
} from "wal-replicator/command-line";
import { appVersion } from "./app-version.ts";
import { healthcheckCommand } from "./commands/healthcheck.ts";

/** @returns the exit code. */
export async function runCommands(
  argv: readonly string[],
  streams: CommandLineStreams,
): Promise<number> {
  return runCommandLine(
    {
      name: "vaultwarden-stream",
      description:
        "Starts Vaultwarden, streams its database to a store within a second of every commit, and restores it on any machine. Configured by the environment, see .env.example.",
      version: appVersion(),
      commands: await commandsFor(argv[0]),
    },
    argv,
    streams,
  );
}

/** A container engine asks for the health every half minute, beside the vault: without the engine and the store it takes less time and memory. */
async function commandsFor(name: string | undefined): Promise<readonly AnyCommandSpec[]> {
  if (name === healthcheckCommand.name) return [healthcheckCommand];
  return (await import("./commands/all-commands.ts")).allCommands;
}
