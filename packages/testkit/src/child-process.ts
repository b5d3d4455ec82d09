import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";

/** How a process ended, and all it wrote. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running child whose output is collected. */
export interface RunningChild {
  readonly process: ChildProcess;
  readonly pid: number;
  /** What it has written so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves when the process is gone and its output is complete; never rejects once the process was started. */
  readonly exited: Promise<ChildExit>;
}

export interface ChildOptions {
  readonly arguments?: readonly string[];
  /** Added to our own environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The child's whole environment instead of ours plus `env`. */
  readonly onlyEnv?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly nodeArguments?: readonly string[];
  /** Adds an IPC channel; the child sees it as `process.send`. */
  readonly ipc?: boolean;
}

/**
 * Starts a TypeScript file as a Node process of its own, from source: with our own executable, and with sibling packages
 * resolved to their sources. Its standard input is empty.
 */
export function startTypeScriptChild(entry: string, options: ChildOptions = {}): RunningChild {
  return startChild(
    process.execPath,
    [
      "--conditions=@vaultwarden-stream/source",
      ...(options.nodeArguments ?? []),
      entry,
      ...(options.arguments ?? []),
    ],
    options,
    options.ipc === true ? ["ignore", "pipe", "pipe", "ipc"] : ["ignore", "pipe", "pipe"],
  );
}

/** Starts a command and collects its output. */
export function startChild(
  command: string,
  commandArguments: readonly string[],
  options: Pick<ChildOptions, "env" | "onlyEnv" | "cwd">,
  stdio: StdioOptions,
): RunningChild {
  const child = spawn(command, [...commandArguments], {
    stdio,
    env: options.onlyEnv ?? { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
  const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString();
  const exited = new Promise<ChildExit>((resolve, reject) => {
    child.on("error", (cause) =>
      reject(new Error(`${command} could not be started or signalled`, { cause })),
    );
    child.on("close", (code, signal) =>
      resolve({ code, signal, stdout: text(stdout), stderr: text(stderr) }),
    );
  });
  return {
    process: child,
    pid: child.pid ?? -1,
    stdout: () => text(stdout),
    stderr: () => text(stderr),
    exited,
  };
}

/**
 * Runs a TypeScript file to its end.
 *
 * @throws {Error} with all that it wrote, if its exit code is not 0.
 */
export async function runTypeScriptChild(
  entry: string,
  options: ChildOptions = {},
): Promise<ChildExit> {
  const exit = await startTypeScriptChild(entry, options).exited;
  if (exit.code !== 0) {
    throw new Error(
      `${entry} ended with ${exit.signal ?? `code ${exit.code}`}:\n${exit.stderr}${exit.stdout}`,
    );
  }
  return exit;
}
