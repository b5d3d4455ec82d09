import { Command, CommanderError, Option } from "commander";
import { CommandError, usageError } from "./command-error.ts";
import { exitCodes } from "./exit-codes.ts";
import { describeFailure } from "./failure.ts";
import { nearestName } from "./nearest-name.ts";
import { type LogLevel, logLevels, Output } from "./output.ts";
import type { CommandLineStreams } from "./streams.ts";

/** An option of a command. The value of `--if-db-not-exists` is `options["ifDbNotExists"]`. */
export interface OptionSpec {
  /** As in help: `--at <time>`, `-o, --output <file>`. */
  readonly flags: string;
  readonly description: string;
  readonly required?: boolean;
  /** Turns the text into the value. @throws {CommandError} `USAGE` if it cannot. */
  readonly parse?: (text: string, nowMs: number) => unknown;
}

/** What a command is called with. */
export interface CommandCall<Options> {
  /** The arguments in order; an optional one that is missing is undefined, a variadic one an array. */
  readonly args: readonly (string | undefined | readonly string[])[];
  readonly options: Options;
  readonly output: Output;
  readonly streams: CommandLineStreams;
  /** What was typed behind `--`; undefined if there was no `--`. */
  readonly behindDashes: readonly string[] | undefined;
}

export interface CommandSpec<Options = never> {
  readonly name: string;
  /** One line for the list of commands and the head of its help. */
  readonly summary: string;
  /** `[syntax, description]` as commander writes them: `["<url>", "the replica"]`. */
  readonly args: readonly (readonly [string, string])[];
  readonly options: readonly OptionSpec[];
  /** Replaces the generated usage where that would not say it all. */
  readonly usage?: string;
  readonly examples: readonly [string, string];
  /** What is being done, for the first line of an error: `restore of file:///backup`. The name of the command if missing. */
  readonly doing?: (call: CommandCall<Options>) => string;
  /** @returns the exit code; 0 if undefined. */
  readonly run: (call: CommandCall<Options>) => Promise<number | undefined>;
}

/** Lets commands with options of different types stand in one list. */
export type AnyCommandSpec = CommandSpec<never>;

export interface CommandLine {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly commands: readonly AnyCommandSpec[];
}

interface CommonOptions {
  readonly json?: true;
  readonly quiet?: true;
  readonly logLevel?: LogLevel;
}

/**
 * Parses `argv` (without the executable and the script), runs the command it names, prints what failed. Never throws and never exits:
 * the caller sets `process.exitCode`.
 *
 * @returns the exit code, see `exitCodes`.
 */
export async function runCommandLine(
  line: CommandLine,
  argv: readonly string[],
  streams: CommandLineStreams,
): Promise<number> {
  let exitCode: number = exitCodes.done;
  // `list | head` closes our stdout; that is no failure.
  for (const stream of [streams.stdout, streams.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }

  const dashes = argv.indexOf("--");
  const ownArgv = dashes === -1 ? argv : argv.slice(0, dashes);
  // Errors of parsing are worded before the options are known.
  const early = new Output(streams, {
    program: line.name,
    json: ownArgv.includes("--json"),
    level: "info",
  });

  const program = configure(new Command(line.name), streams)
    .description(line.description)
    .version(line.version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false);
  for (const spec of line.commands as readonly CommandSpec<object>[]) {
    addCommand(program, spec, streams, argv, async (call, run) => {
      try {
        exitCode = (await run()) ?? exitCodes.done;
      } catch (error) {
        const failure = describeFailure(error, spec.doing?.(call) ?? spec.name);
        call.output.failure(failure);
        if (error instanceof Error) call.output.debug(String(error.stack));
        exitCode = failure.exitCode;
      }
    });
  }

  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.done;
      // Help for want of a command: commander has printed it already.
      if (error.code === "commander.help") return exitCodes.usage;
    }
    const failure = describeFailure(error, line.name);
    early.failure(failure);
    return failure.exitCode;
  }
  return exitCode;
}

function addCommand(
  program: Command,
  spec: CommandSpec<object>,
  streams: CommandLineStreams,
  argv: readonly string[],
  execute: (call: CommandCall<object>, run: () => Promise<number | undefined>) => Promise<void>,
): void {
  const command = configure(program.command(spec.name), streams)
    .summary(spec.summary)
    .description(spec.summary)
    .helpOption("-h, --help", "print help");
  for (const [syntax, description] of spec.args) command.argument(syntax, description);
  for (const option of spec.options) command.addOption(toOption(option, streams));
  command
    .option("--json", "print one JSON object instead of text")
    .option("-q, --quiet", "say nothing but the result and errors")
    .addOption(
      toOption(
        { flags: "--log-level <level>", description: logLevels.join(", "), parse: parseLogLevel },
        streams,
      ),
    )
    .addHelpText(
      "after",
      `\nExamples:\n${spec.examples.map((example) => `  $ ${example}\n`).join("")}`,
    );
  if (spec.usage !== undefined) command.usage(spec.usage);

  command.action(async (...received: unknown[]) => {
    const args = received.slice(0, -2) as CommandCall<object>["args"];
    const options = received.at(-2) as object & CommonOptions;
    const level = options.logLevel ?? (options.quiet ? "error" : "info");
    const dashes = argv.indexOf("--");
    const call: CommandCall<object> = {
      args,
      options,
      output: new Output(streams, { program: program.name(), json: options.json === true, level }),
      streams,
      behindDashes: dashes === -1 ? undefined : argv.slice(dashes + 1),
    };
    await execute(call, () => spec.run(call));
  });
}

function toOption(spec: OptionSpec, streams: CommandLineStreams): Option {
  const option = new Option(spec.flags, spec.description);
  if (spec.required) option.makeOptionMandatory();
  const { parse } = spec;
  if (parse !== undefined) option.argParser((text: string) => parse(text, streams.now()));
  return option;
}

function parseLogLevel(text: string): LogLevel {
  return parseChoice(text, logLevels, "log level");
}

/** For options that take one of a few words. @throws a usage error with the nearest of them. */
export function parseChoice<T extends string>(
  text: string,
  choices: readonly T[],
  what = "value",
): T {
  const choice = choices.find((known) => known === text);
  if (choice === undefined) throw unknownName(what, text, choices, "");
  return choice;
}

/** Commander neither exits nor words errors: both are ours. */
function configure(command: Command, streams: CommandLineStreams): Command {
  return command
    .exitOverride((error) => {
      throw toUsageError(error, command);
    })
    .showSuggestionAfterError(false)
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: () => undefined,
    });
}

/** Words what commander found wrong. The names it quotes in its message are the only place where it says them. */
function toUsageError(error: CommanderError, command: Command): Error {
  if (error.exitCode === 0 || error.code === "commander.help") return error;
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? "";
  const help = `see \`${commandPath(command)} --help\``;
  if (error.code === "commander.unknownCommand") {
    return unknownName(
      "command",
      quoted,
      command.commands.map((known) => known.name()),
      help,
    );
  }
  if (error.code === "commander.unknownOption") {
    const known = command.options.flatMap((option) => [option.long ?? "", option.short ?? ""]);
    return unknownName(
      "option",
      quoted,
      [...known, "--help"].filter((name) => name.startsWith("--")),
      help,
    );
  }
  const reason = error.message.replace(/^error: /, "");
  return new CommandError(
    "USAGE",
    { what: `cannot run \`${commandPath(command)}\``, why: reason, next: help },
    { cause: error },
  );
}

function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${command.parent.name()} ${command.name()}`;
}

/**
 * The answer to a typo: the nearest known name, else all of them.
 *
 * @param kind - what it is a name of: `option`, `URL parameter`.
 * @param help - what else to do next, may be empty.
 */
export function unknownName(
  kind: string,
  typed: string,
  known: readonly string[],
  help: string,
): CommandError {
  const nearest = nearestName(typed, known);
  const next =
    nearest === undefined
      ? help || `the known ones are ${known.join(", ")}`
      : `did you mean ${nearest}?`;
  return usageError(
    `there is no ${kind} ${typed}`,
    `the known ones are ${known.join(", ") || "none"}`,
    next,
  );
}
