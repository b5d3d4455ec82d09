import { usageError } from "../command-line/command-error.ts";
import type { CommandSpec } from "../command-line/command-line.ts";
import { describeRetry } from "../command-line/describe-event.ts";
import {
  describeVerification,
  exitCodeOfVerification,
} from "../command-line/describe-verification.ts";
import { parseSubset } from "../command-line/parse-subset.ts";
import { parseDuration } from "../command-line/parse-time.ts";
import { phaseProgress } from "../command-line/phase-progress.ts";
import { interruptible } from "../command-line/termination.ts";
import type { Subset } from "../verify/read-files.ts";
import { verifyReplica } from "../verify/verify-replica.ts";

interface VerifyCommandOptions {
  readonly quick?: true;
  readonly readDataSubset?: Subset;
  readonly timeLimit?: number;
  readonly startAt?: string;
}

export const verifyCommand: CommandSpec<VerifyCommandOptions> = {
  name: "verify",
  summary: "Verifies a replica: no gap, every file's checksum, a trial restore. Exit 4: it is bad.",
  args: [
    [
      "<url>",
      "the replica: s3://bucket/prefix, file:///absolute/path, or a path; stock Litestream's too",
    ],
  ],
  options: [
    { flags: "--quick", description: "names and the chain only; read no file, restore nothing" },
    {
      flags: "--read-data-subset <n/t>",
      description: "read the n-th of t parts of the files: t runs read everything",
      parse: parseSubset,
    },
    {
      flags: "--time-limit <duration>",
      description:
        "begin to read no other file after that; the trial restore is whole all the same",
      parse: parseDuration,
    },
    {
      flags: "--start-at <place>",
      description: "go on where a run with a time limit says that it stopped",
      parse: parsePlace,
    },
  ],
  examples: [
    "wal-replicator verify /backups/app",
    "wal-replicator verify s3://bucket/app --read-data-subset 3/7 --json",
  ],
  doing: ({ args }) => `verification of ${args[0]}`,
  run: async ({ args, options, output }) => {
    const progress = phaseProgress(output);
    const verification = await interruptible((signal) =>
      verifyReplica({
        replica: args[0] as string,
        isQuick: options.quick === true,
        ...(options.readDataSubset === undefined ? {} : { subset: options.readDataSubset }),
        ...(options.timeLimit === undefined ? {} : { timeLimitMs: options.timeLimit }),
        ...(options.startAt === undefined ? {} : { startAt: options.startAt }),
        onRetry: (notice) => output.warn(describeRetry(notice)),
        onProgress: ({ phase, bytesDone, bytesTotal }) =>
          progress.update(phase, bytesDone, bytesTotal),
        signal,
      }),
    );
    progress.clear();
    output.result(verification, describeVerification(verification));
    return exitCodeOfVerification(verification);
  },
};

/** @throws {CommandError} `USAGE` */
function parsePlace(text: string): string {
  if (/^[0-9a-f]{8}$/.test(text)) return text;
  throw usageError(
    `"${text}" is no place to start at`,
    "it is 8 hex digits",
    "copy it from the report of a run with --time-limit, or leave it out",
  );
}
