import type { Writable } from "node:stream";

/** Our own log: one line a message on stderr, where the vault's own output does not get in its way. Never holds a secret. */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
}

/** Only in the JSON form; the message says everything that matters. TXIDs as 16 hex digits, times RFC 3339. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

export type LogLevel = keyof Logger;

const levels: readonly LogLevel[] = ["error", "warn", "info", "debug"];
/** As the predecessor wrote them, for whoever greps. */
const labels: Readonly<Record<LogLevel, string>> = {
  error: "ERROR",
  warn: "WARNING",
  info: "INFO",
  debug: "DEBUG",
};

/** @param now - the clock, for the JSON form; the text form leaves time to whatever collects the log. */
export function createLogger(
  stream: Writable,
  options: { readonly level: LogLevel; readonly format: "text" | "json" },
  now: () => Date = () => new Date(),
): Logger {
  const write = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (levels.indexOf(level) > levels.indexOf(options.level)) return;
    const line =
      options.format === "json"
        ? JSON.stringify({ time: now().toISOString(), level, message, ...fields })
        : `[stream] ${labels[level]}: ${message.replaceAll("\n", " ")}`;
    stream.write(`${line}\n`);
  };
  return {
    error: (message, fields) => write("error", message, fields),
    warn: (message, fields) => write("warn", message, fields),
    info: (message, fields) => write("info", message, fields),
    debug: (message, fields) => write("debug", message, fields),
  };
}
