import { CommandError, InterruptedError } from "./command-error.ts";
import { type ExitCode, exitCodeOfErrorCode, exitCodes } from "./exit-codes.ts";

/** A failure as the executables print it: three lines, or the same as JSON. */
export interface Failure {
  readonly code: string;
  readonly what: string;
  readonly why: string;
  readonly next: string;
  readonly exitCode: ExitCode;
}

/** Fields of coded errors that say where: in the order in which they are printed. */
const identifiers = [
  "timeline",
  "key",
  "path",
  "level",
  "txid",
  "minTxid",
  "maxTxid",
  "offset",
] as const;

const nextByExitCode: Readonly<Record<number, string>> = {
  [exitCodes.usage]: "see --help",
  [exitCodes.nothingToRestore]: "`list` shows what can be restored there",
  [exitCodes.verificationFailed]:
    "restore an earlier point (--at, --txid), and keep the replica as it is until you know what damaged it",
  [exitCodes.heldByAnother]: "find the other writer and stop it: one database has one writer",
  [exitCodes.storeUnavailable]:
    "check the location, the network and the permissions, then run the same command again",
};

/**
 * Words an error for an operator: what failed with its identifiers, the cause's own words, what to do next.
 *
 * @param doing - what the command was doing, in words that fit before "failed": `restore of file:///backup`.
 */
export function describeFailure(error: unknown, doing: string): Failure {
  const code = stringField(error, "code") ?? "UNEXPECTED";
  if (error instanceof CommandError) {
    return oneLineEach({
      code,
      what: error.what,
      why: error.why,
      next: error.hint,
      exitCode: error.exitCode,
    });
  }
  if (error instanceof InterruptedError) {
    return {
      code,
      what: `${doing} was interrupted`,
      why: `${error.signal} came`,
      next: "run the same command again when you are ready",
      exitCode: error.exitCode,
    };
  }
  const exitCode = exitCodeOfErrorCode(code);
  const known = code !== "UNEXPECTED";
  return oneLineEach({
    code,
    what: `${doing} failed${identify(error)}`,
    why: `${reasons(error)}${known ? ` (${code})` : ""}`,
    next:
      stringField(error, "hint") ??
      nextByExitCode[exitCode] ??
      (known
        ? "run it again with --log-level debug for the whole story"
        : "this looks like a mistake of ours: please report it with the output of --log-level debug"),
    exitCode,
  });
}

/** The three lines, each ended by a newline. */
export function formatFailure(failure: Failure, program: string): string {
  return `${program}: ${failure.what}\n  why:  ${failure.why}\n  next: ${failure.next}\n`;
}

function oneLineEach(failure: Failure): Failure {
  return {
    ...failure,
    what: oneLine(failure.what),
    why: oneLine(failure.why),
    next: oneLine(failure.next),
  };
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ").trim();
}

function identify(error: unknown): string {
  const parts: string[] = [];
  for (const name of identifiers) {
    const value: unknown = Object(error)[name];
    if (value === undefined || value === null || value === "") continue;
    parts.push(
      `${name} ${typeof value === "bigint" ? value.toString(16).padStart(16, "0") : String(value)}`,
    );
  }
  return parts.length === 0 ? "" : ` at ${parts.join(", ")}`;
}

/** The messages of an error and of its causes, each said once. Bounded, since a cause may be its own ancestor. */
function reasons(error: unknown): string {
  let text = "";
  let current: unknown = error;
  for (let depth = 0; depth < 8 && current !== undefined && current !== null; depth += 1) {
    const message = current instanceof Error ? current.message || current.name : String(current);
    if (!text.includes(message)) text = text === "" ? message : `${text}: ${message}`;
    current = current instanceof Error ? current.cause : undefined;
  }
  return text === "" ? "no reason given" : text;
}

function stringField(error: unknown, name: "code" | "hint"): string | undefined {
  const value: unknown = Object(error)[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}
