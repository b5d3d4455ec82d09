import { type ChildOptions, type RunningChild, startTypeScriptChild } from "./child-process.ts";

export interface CrashChildOptions extends ChildOptions {
  /** Path of a TypeScript file that calls `crashPointsFromArguments`. */
  readonly entry: string;
  /** The point at which the child kills itself with SIGKILL; without it, it runs to its end. */
  readonly crashAt?: string | undefined;
  /** At which hit of the point, from 1. */
  readonly nth?: number;
}

export interface CrashChild extends RunningChild {
  /** Resolves when the process is gone: whether it died by SIGKILL, its exit code, and all it wrote. */
  readonly killed: Promise<CrashExit>;
}

export interface CrashExit {
  /** True if SIGKILL ended it, which is what a reached crash point does. */
  readonly byCrash: boolean;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a process life that ends, by SIGKILL and without any clean-up, at a named point of its own code. */
export function startCrashChild(options: CrashChildOptions): CrashChild {
  const crashArguments =
    options.crashAt === undefined
      ? []
      : [`--crash-at=${options.crashAt}`, `--crash-nth=${options.nth ?? 1}`];
  const child = startTypeScriptChild(options.entry, {
    ...options,
    arguments: [...(options.arguments ?? []), ...crashArguments],
  });
  const killed = child.exited.then((exit) => ({ byCrash: exit.signal === "SIGKILL", ...exit }));
  return { ...child, killed };
}

/**
 * The child's side: a listener for crash points that kills this very process at the point and hit that the arguments name.
 * Without such arguments it does nothing. It never returns from the hit that kills.
 *
 * @throws {RangeError} if the hit is no whole number from 1.
 */
export function crashPointsFromArguments(
  processArguments: readonly string[] = process.argv,
): (point: string) => void {
  const crashAt = argumentValue(processArguments, "crash-at");
  if (crashAt === undefined) return () => {};
  const nth = Number(argumentValue(processArguments, "crash-nth") ?? "1");
  if (!Number.isInteger(nth) || nth < 1)
    throw new RangeError(`--crash-nth must be 1 or more: ${nth}`);
  let hitCount = 0;
  return (point) => {
    if (point !== crashAt) return;
    hitCount += 1;
    if (hitCount !== nth) return;
    process.kill(process.pid, "SIGKILL");
    // The signal may be delivered to another thread first; nothing behind the point may run meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  };
}

/**
 * The arguments of this process without those of `startCrashChild`, for an entry that parses its own.
 */
export function argumentsWithoutCrashPoint(
  processArguments: readonly string[] = process.argv.slice(2),
): string[] {
  return processArguments.filter((argument) => !/^--crash-(at|nth)=/.test(argument));
}

function argumentValue(processArguments: readonly string[], name: string): string | undefined {
  const prefix = `--${name}=`;
  return processArguments.find((argument) => argument.startsWith(prefix))?.slice(prefix.length);
}
