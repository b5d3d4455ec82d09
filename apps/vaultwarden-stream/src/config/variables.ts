import { z } from "zod";
import { parseDurationMs, parseSecondsMs } from "./duration.ts";

/**
 * The variables that exist so far, as data: the reader, the check for unknown names and `.env.example` are made from it.
 * The complete contract, with what comes later, is in docs/environment.
 */
export interface Variable {
  readonly name: string;
  readonly group: string;
  /** Other tools' names for it, still good. */
  readonly aliases?: readonly string[];
  /** As it would be written; undefined: there is none. */
  readonly defaultText: string | undefined;
  /** What is accepted, in words, for errors and for the example file. */
  readonly accepts: string;
  /** One sentence for people who have never seen it. */
  readonly meaning: string;
  /** From the text of the environment to the value; an issue's message says what to write instead. */
  readonly schema: z.ZodType<unknown, string>;
}

const sync = duration({ minMs: 10, maxMs: 3_600_000 });

export const variables: readonly Variable[] = [
  {
    name: "STORE_DIR",
    group: "Store",
    defaultText: undefined,
    accepts: "a path",
    meaning:
      "The directory that everything is stored in: a mounted disk of another machine, or for a trial. Required, until S3 comes with the next release.",
    schema: z.string(),
  },
  {
    name: "NODE_ROLE",
    group: "Deployment",
    defaultText: "primary",
    accepts: "primary",
    meaning: "What this machine is. A secondary (standby) comes with a later release.",
    schema: oneOf({ primary: "primary" }, { secondary: "a standby comes with a later release" }),
  },
  {
    name: "DEPLOYMENT_MODE",
    group: "Deployment",
    defaultText: "persistent",
    accepts: "persistent",
    meaning: "How the platform runs it. Serverless comes with a later release.",
    schema: oneOf(
      { persistent: "persistent" },
      { serverless: "serverless mode comes with a later release" },
    ),
  },
  {
    name: "REPLICATION_SYNC_INTERVAL",
    group: "Database",
    aliases: ["LITESTREAM_SYNC_INTERVAL"],
    defaultText: "1s",
    accepts: "a duration from 10ms to 1h",
    meaning:
      "Longest time that commits are batched under load; after a quiet time the first one ships at once.",
    schema: sync,
  },
  {
    name: "REPLICATION_SHUTDOWN_TIMEOUT",
    group: "Database",
    aliases: ["LITESTREAM_SHUTDOWN_TIMEOUT"],
    defaultText: "30",
    accepts: "seconds, or a duration, from 1s to 1h",
    meaning: "How long the last commits may take to ship after the vault has ended.",
    schema: seconds({ minMs: 1_000, maxMs: 3_600_000 }),
  },
  {
    name: "SHUTDOWN_TIMEOUT",
    group: "Deployment",
    defaultText: "300",
    accepts: "seconds, or a duration, from 1s to 1h",
    meaning:
      "The platform's whole grace period between SIGTERM and SIGKILL; the budgets of all steps are cut to it.",
    schema: seconds({ minMs: 1_000, maxMs: 3_600_000 }),
  },
  {
    name: "LITESTREAM_DB_PATH",
    group: "Database",
    defaultText: undefined,
    accepts: "a path",
    meaning:
      "Only checked: the predecessor's path of the database must be the one that the vault's own settings give.",
    schema: z.string(),
  },
  {
    name: "VAULTWARDEN_BIN",
    group: "Vault",
    defaultText: undefined,
    accepts: "a path",
    meaning: "The server to start. Without it, `vaultwarden` is looked for in the PATH.",
    schema: z.string(),
  },
  {
    name: "STREAM_LOG_LEVEL",
    group: "Log",
    defaultText: "info",
    accepts: "error, warn, info, debug",
    meaning: "How much of our own log is written. It goes to stderr; the vault's passes through.",
    schema: oneOf({ error: "error", warn: "warn", warning: "warn", info: "info", debug: "debug" }),
  },
  {
    name: "STREAM_LOG_FORMAT",
    group: "Log",
    defaultText: "text",
    accepts: "text, json",
    meaning: "Form of our own log: lines to read, or one JSON object a line.",
    schema: oneOf({ text: "text", json: "json" }),
  },
];

function duration(bounds: { minMs: number; maxMs: number }): z.ZodType<number, string> {
  return bounded(parseDurationMs, bounds, "write a number with its unit, like 500ms, 1s or 1h30m");
}

function seconds(bounds: { minMs: number; maxMs: number }): z.ZodType<number, string> {
  return bounded(parseSecondsMs, bounds, "write seconds, like 30, or a duration, like 1m30s");
}

function bounded(
  parse: (text: string) => number | undefined,
  { minMs, maxMs }: { minMs: number; maxMs: number },
  remedy: string,
): z.ZodType<number, string> {
  return z.string().transform((text, context) => {
    const ms = parse(text);
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    context.addIssue({
      code: "custom",
      message:
        ms === undefined ? remedy : `out of range: it must lie between ${minMs} ms and ${maxMs} ms`,
    });
    return z.NEVER;
  });
}

/** @param later - words that will be good one day, each with the reason why not yet. */
function oneOf<T extends string>(
  words: Readonly<Record<string, T>>,
  later: Readonly<Record<string, string>> = {},
): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    const word = text.toLowerCase();
    const value = Object.hasOwn(words, word) ? words[word] : undefined;
    if (value !== undefined) return value;
    const known = Object.keys(words).join(", ");
    context.addIssue({
      code: "custom",
      message: Object.hasOwn(later, word) ? `${later[word]}; write ${known}` : `write ${known}`,
    });
    return z.NEVER;
  });
}
