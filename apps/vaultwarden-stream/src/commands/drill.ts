import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ObjectStoreError } from "@vaultwarden-stream/object-store";
import {
  type CommandSpec,
  type ExitCode,
  exitCodeOfErrorCode,
  exitCodes,
  interruptible,
  phaseProgress,
} from "wal-replicator/command-line";
import { appVersion } from "../app-version.ts";
import { stateDirectory } from "../daemon/status-file.ts";
import { openRetrying } from "../daemon/vault-store.ts";
import { describeProof, warningsOf } from "../drill/describe-proof.ts";
import { type DrillResult, drill } from "../drill/drill.ts";
import { confirmedHere } from "../verify/confirmed-here.ts";
import { readEverything } from "./read-settings.ts";

interface DrillCommandOptions {
  readonly scratch?: string;
}

export const drillCommand: CommandSpec<DrillCommandOptions> = {
  name: "drill",
  summary:
    "restores the newest state beside the live data, compares it, and removes it again. Exit 4: it is bad",
  args: [],
  options: [
    {
      flags: "--scratch <directory>",
      description:
        "where to restore it for that time (default: beside the database, else the system's temporary directory)",
    },
  ],
  examples: [
    "docker exec vault vaultwarden-stream drill",
    "vaultwarden-stream drill --scratch /mnt/large --json    # on any machine that reaches the store",
  ],
  doing: () => "a restore drill",
  run: ({ options, output, streams }) =>
    interruptible(async (signal) => {
      const { config, settings } = readEverything(streams.env, streams, { level: "error" });
      const { database } = settings;
      const progress = phaseProgress(output);
      const result = await drill({
        location: config.store,
        store: openRetrying(config.store),
        include: config.files.include,
        scratchParent: options.scratch ? resolve(options.scratch) : scratchBeside(database),
        liveDatabase: database,
        confirmed: confirmedHere(database),
        engine: appVersion(),
        onProgress: (phase, done, total) => progress.update(`restoring the ${phase}`, done, total),
        signal,
      });
      progress.clear();
      const { proof, key } = result;
      for (const warning of warningsOf(proof)) output.warn(warning);
      if (key === null) output.warn(`the proof could not be stored: ${String(result.cause)}`);
      output.result({ ...proof, key }, describeProof(proof));
      return exitCodeOf(result);
    }),
};

function scratchBeside(database: string): string {
  return existsSync(database)
    ? join(stateDirectory(database), "drill")
    : join(tmpdir(), "vaultwarden-stream-drill");
}

function exitCodeOf({ proof, cause }: DrillResult): ExitCode {
  if (proof.outcome === "proved") return exitCodes.done;
  if (proof.outcome === "failed") return exitCodes.verificationFailed;
  return cause instanceof ObjectStoreError ? exitCodeOfErrorCode(cause.code) : exitCodes.failed;
}
