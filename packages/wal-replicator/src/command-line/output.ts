import { type Failure, formatFailure } from "./failure.ts";
import { formatTime, toJson } from "./format.ts";
import { type Progress, startProgress } from "./progress.ts";
import type { CommandLineStreams } from "./streams.ts";

export const logLevels = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface OutputOptions {
  /** The executable's name, before each error. */
  readonly program: string;
  /** Results and messages as JSON, an object a line. */
  readonly json: boolean;
  /** The least important level that is shown. */
  readonly level: LogLevel;
}

/**
 * What a command says. The result goes to stdout and everything else to stderr, so that a result can be piped.
 * With `json` the result is one object; each message is an object too, so that nothing on stderr needs another parser.
 */
export class Output {
  readonly json: boolean;
  readonly #streams: CommandLineStreams;
  readonly #program: string;
  readonly #level: number;
  #progress: Progress | undefined;

  constructor(streams: CommandLineStreams, options: OutputOptions) {
    this.#streams = streams;
    this.json = options.json;
    this.#program = options.program;
    this.#level = logLevels.indexOf(options.level);
  }

  /** Prints what was asked for, whatever the level. `text` is printed as it is and needs no final newline. */
  result(report: object, text: string): void {
    this.#progress?.clear();
    this.#streams.stdout.write(`${this.json ? toJson(report) : text}\n`);
  }

  warn(message: string, fields?: object): void {
    this.#message("warn", message, fields);
  }

  info(message: string, fields?: object): void {
    this.#message("info", message, fields);
  }

  debug(message: string, fields?: object): void {
    this.#message("debug", message, fields);
  }

  /** Prints the three lines of an error, or `{"error": …}`. */
  failure(failure: Failure): void {
    this.#progress?.clear();
    this.#streams.stderr.write(
      this.json ? `${toJson({ error: failure })}\n` : formatFailure(failure, this.#program),
    );
  }

  /**
   * Shows how far a piece of work is: a bar on a terminal, a line every 10 s elsewhere, nothing with `--quiet`.
   *
   * @param label - what is being done: `restoring`.
   */
  progress(label: string): Progress {
    const shown = this.#level >= logLevels.indexOf("info");
    this.#progress = startProgress({
      label,
      stream: this.#streams.stderr,
      isBar:
        shown &&
        !this.json &&
        this.#streams.stderr.isTTY === true &&
        this.#streams.env["TERM"] !== "dumb",
      now: this.#streams.now,
      line: (text, fields) => this.#message("info", text, fields),
    });
    return this.#progress;
  }

  #message(level: LogLevel, message: string, fields: object = {}): void {
    if (logLevels.indexOf(level) > this.#level) return;
    this.#progress?.clear();
    if (this.json) {
      const time = formatTime(this.#streams.now());
      this.#streams.stderr.write(`${toJson({ time, level, message, ...fields })}\n`);
    } else {
      this.#streams.stderr.write(`${this.#paint(level)}${message}\n`);
    }
  }

  #paint(level: LogLevel): string {
    if (level === "info") return "";
    const { isTTY } = this.#streams.stderr;
    const hasColour = isTTY === true && !this.#streams.env["NO_COLOR"];
    const label = level === "warn" ? "warning: " : "debug: ";
    if (!hasColour) return label;
    return `\u001b[${level === "warn" ? 33 : 2}m${label}\u001b[0m`;
  }
}
