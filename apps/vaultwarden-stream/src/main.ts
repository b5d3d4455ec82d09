#!/usr/bin/env -S node --max-semi-space-size=2 --heap-growing-percent=30
import { processStreams } from "wal-replicator/command-line";
import { runCommands } from "./command-line.ts";

// Explicitly, so that nothing that is still open can hold up an end that a platform waits for.
process.exit(await runCommands(process.argv.slice(2), processStreams()));
