import { type ExitCode, exitCodeOfErrorCode, exitCodes } from "./exit-codes.ts";

/** A failure that a command words itself: the three lines of an error, ready to print. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: string;
  readonly exitCode: ExitCode;
  /** What failed, why, and what to do next: a sentence each, without a full stop. */
  readonly what: string;
  readonly why: string;
  readonly hint: string;

  constructor(
    code: string,
    lines: { readonly what: string; readonly why: string; readonly next: string },
    details: { readonly exitCode?: ExitCode; readonly cause?: unknown } = {},
  ) {
    super(`${lines.what}: ${lines.why}`, { cause: details.cause });
    this.code = code;
    this.exitCode = details.exitCode ?? exitCodeOfErrorCode(code);
    this.what = lines.what;
    this.why = lines.why;
    this.hint = lines.next;
  }
}

/** The person typed or configured something that cannot work; exit code 2. */
export function usageError(what: string, why: string, next: string): CommandError {
  return new CommandError("USAGE", { what, why, next });
}

/** Abort reason of a command that SIGINT or SIGTERM ended. It passes unwrapped, so that it is never taken for damage. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";
  readonly code = "INTERRUPTED";
  readonly signal: "SIGINT" | "SIGTERM";
  readonly exitCode: ExitCode;

  constructor(signal: "SIGINT" | "SIGTERM") {
    super(`ended by ${signal}`);
    this.signal = signal;
    this.exitCode = signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated;
  }
}
