import type { AnyCommandSpec } from "wal-replicator/command-line";
import { doctorCommand } from "./doctor.ts";
import { drillCommand } from "./drill.ts";
import { healthcheckCommand } from "./healthcheck.ts";
import { historyCommand } from "./history.ts";
import { restoreCommand } from "./restore.ts";
import { runCommand } from "./run.ts";
import { statusCommand } from "./status.ts";
import { verifyCommand } from "./verify.ts";

/** In the order of the help. */
export const allCommands: readonly AnyCommandSpec[] = [
  runCommand,
  restoreCommand,
  statusCommand,
  historyCommand,
  verifyCommand,
  drillCommand,
  doctorCommand,
  healthcheckCommand,
];
