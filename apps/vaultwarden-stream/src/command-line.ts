import { readFileSync } from "node:fs";
import {
  type AnyCommandSpec,
  type CommandLineStreams,
  runCommandLine,
} from "wal-replicator/command-line";
import { healthcheckCommand } from "./commands/healthcheck.ts";

/** @returns the exit code. */
export async function runCommands(
  argv: readonly string[],
  streams: CommandLineStreams,
): Promise<number> {
  const { version } = JSON.parse(
    readFileSync(new URL("../package.json", import.meta.url), "utf8"),
  ) as { version: string };
  return runCommandLine(
    {
      name: "vaultwarden-stream",
      description:
        "Starts Vaultwarden, streams its database to a store within a second of every commit, and restores it on any machine. Configured by the environment, see .env.example.",
      version,
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
