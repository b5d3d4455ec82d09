import { createInterface } from "node:readline/promises";
import { CommandError, InterruptedError } from "./command-error.ts";
import { exitCodes } from "./exit-codes.ts";
import type { CommandLineStreams } from "./streams.ts";

export interface Question {
  /** What will be done, as a question: `Replace /data/notes.db?` */
  readonly text: string;
  /** `--yes` was given. */
  readonly yes: boolean;
  /** The option that answers where nobody can: `--yes`, `--force`. */
  readonly option: string;
}

/**
 * Asks before something is replaced. Returns when the answer is yes.
 *
 * @throws {CommandError} `NOT_CONFIRMED` if the answer is no (exit code 1), or if there is no terminal to ask on (exit code 2):
 *   a script never replaces anything that it did not say it would.
 */
export async function confirm(
  question: Question,
  streams: CommandLineStreams,
  signal?: AbortSignal,
): Promise<void> {
  if (question.yes) return;
  if (streams.stdin.isTTY !== true) {
    throw new CommandError(
      "NOT_CONFIRMED",
      {
        what: `not done: ${question.text}`,
        why: "there is no terminal to ask on",
        next: `add ${question.option} if that is what you want`,
      },
      { exitCode: exitCodes.usage },
    );
  }
  if (/^y(es)?$/i.test((await ask(question.text, streams, signal)).trim())) return;
  throw new CommandError("NOT_CONFIRMED", {
    what: `not done: ${question.text}`,
    why: "the answer was no",
    next: "nothing was changed",
  });
}

/** @returns what was typed; nothing at the end of the input (Ctrl-D). */
async function ask(
  text: string,
  streams: CommandLineStreams,
  signal: AbortSignal | undefined,
): Promise<string> {
  const terminal = createInterface({ input: streams.stdin, output: streams.stderr });
  const ended = new Promise<string>((resolve, reject) => {
    terminal.once("close", () => resolve(""));
    // The terminal is in raw mode meanwhile: a Ctrl-C comes as a key and not as a signal.
    terminal.once("SIGINT", () => reject(new InterruptedError("SIGINT")));
  });
  try {
    const answer = terminal.question(`${text} [y/N] `, signal === undefined ? {} : { signal });
    return await Promise.race([answer, ended]);
  } catch (error) {
    // Readline wraps the signal's reason into an error of its own; a cancellation passes unwrapped.
    throw signal?.aborted === true ? signal.reason : error;
  } finally {
    terminal.close();
  }
}
