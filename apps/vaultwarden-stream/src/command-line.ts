import { readFileSync } from "node:fs";
import { type CommandLineStreams, runCommandLine } from "wal-replicator/command-line";
import { restoreCommand } from "./commands/restore.ts";
import { runCommand } from "./commands/run.ts";
import { statusCommand } from "./commands/status.ts";

/** @returns the exit code. */
export function runCommands(argv: readonly string[], streams: CommandLineStreams): Promise<number> {
  const { version } = JSON.parse(
    readFileSync(new URL("../package.json", import.meta.url), "utf8"),
  ) as { version: string };
  return runCommandLine(
    {
      name: "vaultwarden-stream",
      description:
        "Starts Vaultwarden, streams its database to a store within a second of every commit, and restores it on any machine. Configured by the environment, see .env.example.",
      version,
      commands: [runCommand, restoreCommand, statusCommand],
    },
    argv,
    streams,
  );
}
