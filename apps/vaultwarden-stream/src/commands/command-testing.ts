import { PassThrough } from "node:stream";
import { type AnyCommandSpec, runCommandLine } from "wal-replicator/command-line";
import type { Environment } from "../config/environment.ts";

export interface CommandAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** For tests: runs a command as the executable would, with an environment of its own. */
export async function runForTest(
  command: AnyCommandSpec,
  environment: Environment,
  ...words: readonly string[]
): Promise<CommandAnswer> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const code = await runCommandLine(
    { name: "vaultwarden-stream", description: "", version: "0", commands: [command] },
    [command.name, ...words],
    { stdin: new PassThrough(), stdout, stderr, env: environment, now: Date.now },
  );
  return { code, stdout: textOf(stdout), stderr: textOf(stderr) };
}

function textOf(stream: PassThrough): string {
  return (stream.read() as Buffer | null)?.toString() ?? "";
}
