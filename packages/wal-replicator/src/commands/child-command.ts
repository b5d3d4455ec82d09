import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { CommandError } from "../command-line/command-error.ts";
import { exitCodes } from "../command-line/exit-codes.ts";
import type { TerminationSignal } from "../command-line/termination.ts";

/** The command that the stream wraps, in this process's own streams and process group. */
export class ChildCommand {
  /** Resolves with its exit code; 128 and the signal's number if a signal ended it, as shells say it. */
  readonly ended: Promise<number>;
  readonly #child: ChildProcess;

  /** Starts it. `ended` rejects with {CommandError} `COMMAND_NOT_STARTED` if that fails. */
  constructor(command: readonly string[]) {
    const [file = "", ...args] = command;
    this.#child = spawn(file, args, { stdio: "inherit" });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once("error", (cause) => reject(notStarted(file, cause)));
      this.#child.once("exit", (code, signal) => {
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      });
    });
    // Looked at when the stream has started; until then a failure waits.
    this.ended.catch(() => {});
  }

  /**
   * Passes a signal on. A Ctrl-C on a terminal went to the whole group already, and the second one that a child sees means
   * "now, without cleaning up" to many: it is passed on only where there is no terminal, or when it is meant that way.
   */
  forward(signal: TerminationSignal, count: number, isTerminal: boolean): void {
    if (signal === "SIGTERM" || !isTerminal || count > 1) this.#child.kill(signal);
  }

  terminate(): void {
    this.#child.kill("SIGTERM");
  }
}

function notStarted(file: string, cause: Error): CommandError {
  return new CommandError(
    "COMMAND_NOT_STARTED",
    { what: `cannot start ${file}`, why: cause.message, next: "check the command behind --" },
    { exitCode: exitCodes.usage, cause },
  );
}
