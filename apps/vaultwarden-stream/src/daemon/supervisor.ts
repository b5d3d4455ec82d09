import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";

/**
 * The server's life cycle: started once, stopped once.
 *
 * The child leads a process group of its own, so that a Ctrl-C in a terminal reaches it exactly once, through us, and only after we
 * know about it. Its output goes where ours goes, untouched. It never gets a SIGHUP from us: without a log file that kills it.
 */
export interface ServerProcess {
  readonly pid: number;
  /** Resolves when the process is gone; never rejects. */
  readonly exited: Promise<ServerExit>;
  /** TERM at once, KILL after `graceMs`. Idempotent: later calls wait for the same end. */
  stop(graceMs: number): Promise<ServerExit>;
}

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether we asked it to end before it did: then any exit is a clean one (Vaultwarden exits 1 if a request outlives its grace). */
  readonly requested: boolean;
  /** It did not end within its grace. What it had committed is safe. */
  readonly killed: boolean;
}

/** @throws {Error} if the executable cannot be started. */
export async function startServer(options: {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}): Promise<ServerProcess> {
  const child = spawn(options.command, [...options.arguments], {
    env: options.environment,
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  child.on("error", () => {}); // a signal that came too late; the exit says the rest
  return new SpawnedServer(child);
}

class SpawnedServer implements ServerProcess {
  readonly pid: number;
  readonly exited: Promise<ServerExit>;
  readonly #child: ChildProcess;
  #requested = false;
  #killed = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid ?? -1;
    this.exited = new Promise((resolve) => {
      child.once("exit", (code, signal) =>
        resolve({ code, signal, requested: this.#requested, killed: this.#killed }),
      );
    });
  }

  async stop(graceMs: number): Promise<ServerExit> {
    if (!this.#requested) {
      this.#requested = true;
      this.#child.kill("SIGTERM");
      const timer = setTimeout(() => {
        this.#killed = true;
        this.#child.kill("SIGKILL");
      }, graceMs);
      void this.exited.then(() => clearTimeout(timer));
    }
    return this.exited;
  }
}

/** What the daemon exits with when the server ended by itself: its code, or 128 and the signal's number as shells say it. */
export function exitCodeOf({ code, signal }: ServerExit): number {
  return code ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
}

/** In words, with what Vaultwarden means by the code. */
export function describeExit({ code, signal }: ServerExit): string {
  if (signal !== null) return `it was ended by ${signal}`;
  const meaning = meanings[code ?? -1];
  return `exit code ${code}${meaning === undefined ? "" : `: ${meaning}`}`;
}

const meanings: Readonly<Record<number, string>> = {
  0: "it ended by itself, without an error",
  1: "a check at its start failed, or its port is in use",
  12: "its configuration is invalid",
  101: "it panicked: a locked or damaged database, a failed migration, or an invalid ROCKET_ value",
  255: "its ENV_FILE is missing or cannot be parsed",
};
