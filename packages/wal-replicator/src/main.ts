#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { runCommandLine } from "./command-line/command-line.ts";
import { processStreams } from "./command-line/streams.ts";
import { listCommand } from "./commands/list.ts";
import { replicateCommand } from "./commands/replicate.ts";
import { restoreCommand } from "./commands/restore.ts";
import { verifyCommand } from "./commands/verify.ts";

const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string };

const exitCode = await runCommandLine(
  {
    name: "wal-replicator",
    description:
      "Streams a live SQLite database to an object store as a stock Litestream v0.5 replica, and restores it.",
    version,
    commands: [replicateCommand, restoreCommand, listCommand, verifyCommand],
  },
  process.argv.slice(2),
  processStreams(),
);
// What was printed is out before the exit; an end that was interrupted does not wait for the requests it left.
await new Promise((resolve) => process.stdout.write("", resolve));
process.exit(exitCode);
