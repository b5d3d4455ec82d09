import { timerMsMax } from "./duration.ts";
import { profileVariables } from "./profile-variables.ts";
import { storeVariables } from "./store-variables.ts";
import type { Variable } from "./variable.ts";
import {
  boolean,
  duration,
  durationOrOff,
  listenAddress,
  matching,
  oneOf,
  seconds,
  text,
} from "./variable-schemas.ts";

/** Every variable that exists so far. The complete contract, with what comes later, is in docs/environment. */
export const variables: readonly Variable[] = [
  ...storeVariables,
  {
    // The role decides who writes: set to nothing by accident, it must not make a primary.
    name: "NODE_ROLE",
    group: "Deployment",
    emptyIsSet: true,
    defaultText: "primary",
    accepts: "primary",
    meaning: "What this machine is. A secondary (standby) comes with a later release.",
    schema: oneOf(
      { primary: "primary" },
      {
        secondary: "a standby comes with a later release",
        "": "an empty role is taken for an accident",
      },
    ),
  },
  {
    name: "DEPLOYMENT_MODE",
    group: "Deployment",
    defaultText: "persistent",
    accepts: "persistent, serverless",
    meaning:
      "How the platform runs it. A serverless instance takes over from the one before it at once; a persistent one waits until that is gone.",
    schema: oneOf({ persistent: "persistent", serverless: "serverless" }),
  },
  {
    name: "HEALTHCHECK_MAX_SYNC_AGE",
    group: "Deployment",
    oldNames: ["HEALTHCHECK_SYNC_MAX_AGE"],
    defaultText: "600",
    accepts: "seconds, or a duration, from 1s to 24d",
    meaning:
      "Unhealthy if database or files lag longer than this. Never less than 2 × PRIMARY_SYNC_INTERVAL: it is raised to that.",
    schema: seconds({ minMs: 1_000, maxMs: timerMsMax }),
  },
  {
    name: "STATUS_LISTEN",
    group: "Deployment",
    defaultText: "127.0.0.1:9464",
    accepts: "address:port, like 127.0.0.1:9464 or [::1]:9464",
    meaning:
      "Where the status is served over HTTP. An address that other machines reach needs STATUS_TOKEN.",
    schema: listenAddress(),
  },
  {
    name: "STATUS_TOKEN",
    group: "Deployment",
    isSecret: true,
    defaultText: undefined,
    accepts: "a text without spaces",
    meaning: "What whoever asks for the status has to bring; best as STATUS_TOKEN_FILE.",
    schema: matching(/^[\x21-\x7e]+$/, "write printable ASCII characters without spaces"),
  },
  {
    name: "ON_DIVERGENCE",
    group: "Start",
    defaultText: "stop",
    accepts: "stop, local, remote",
    meaning:
      "Which side goes on when the database here and the store both have what the other lacks. The other one is always kept.",
    schema: oneOf({ stop: "stop", local: "local", remote: "remote" }),
  },
  {
    name: "ALLOW_EMPTY_START",
    group: "Start",
    defaultText: undefined,
    accepts: "the value of S3_PREFIX (of STORE_DIR, with that)",
    meaning:
      "Begins a new vault although another one lies beside it, in the bucket or in the parent directory: mostly that is a typo.",
    schema: text(),
  },
  {
    name: "REPLICATION_SYNC_INTERVAL",
    group: "Database",
    aliases: ["LITESTREAM_SYNC_INTERVAL"],
    defaultText: "1s",
    accepts: "a duration from 10ms to 1h",
    meaning:
      "Longest time that commits are batched under load; after a quiet time the first one ships at once.",
    schema: duration({ minMs: 10, maxMs: 3_600_000 }),
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
    name: "REPLICATION_SNAPSHOT_INTERVAL",
    group: "Database",
    aliases: ["LITESTREAM_SNAPSHOT_INTERVAL"],
    defaultText: "24h",
    accepts: "a duration from 1m to 24d",
    meaning: "How often the whole database is stored anew, so that a restore has less to read.",
    schema: duration({ minMs: 60_000, maxMs: timerMsMax }),
  },
  {
    name: "REPLICATION_RETENTION",
    group: "Database",
    aliases: ["LITESTREAM_RETENTION"],
    defaultText: "30d",
    accepts: "a duration from 1m to 36500d",
    meaning:
      "How far back the vault can be restored, database and files alike. Never less than REPLICATION_SNAPSHOT_INTERVAL: it is raised to that.",
    schema: duration({ minMs: 60_000, maxMs: 36_500 * 86_400_000 }),
  },
  {
    name: "RESTORE_DRILL_INTERVAL",
    group: "Database",
    aliases: ["LITESTREAM_VALIDATION_INTERVAL"],
    defaultText: "24h",
    accepts: "a duration from 1m to 24d, or 0: never",
    meaning:
      "How often the newest state is restored beside the live one, compared, and removed again. Unhealthy if that fails, or was not proved for twice as long. A serverless instance does it if it lives so long.",
    schema: durationOrOff({ minMs: 60_000, maxMs: timerMsMax }),
  },
  {
    name: "SHUTDOWN_TIMEOUT",
    group: "Deployment",
    defaultText: "300",
    accepts: "seconds, or a duration, from 1s to 1h",
    meaning:
      "The platform's whole grace period between SIGTERM and SIGKILL; the budgets of all steps are cut to it. Serverless: 10.",
    schema: seconds({ minMs: 1_000, maxMs: 3_600_000 }),
  },
  {
    name: "PRIMARY_SYNC_INTERVAL",
    group: "Files",
    defaultText: "300",
    accepts: "seconds, or a duration, from 1s to 24d",
    meaning:
      "Longest time between two looks at the vault's files. A change that is noticed goes to the store earlier.",
    schema: seconds({ minMs: 1_000, maxMs: timerMsMax }),
  },
  {
    name: "SYNC_SHUTDOWN_TIMEOUT",
    group: "Files",
    oldNames: ["FINAL_UPLOAD_TIMEOUT"],
    defaultText: "60",
    accepts: "seconds, or a duration, from 1s to 1h",
    meaning: "How long the last files may take to ship after the vault has ended.",
    schema: seconds({ minMs: 1_000, maxMs: 3_600_000 }),
  },
  included("SYNC_INCLUDE_ATTACHMENTS", "true", "Attachments are stored and restored."),
  included("SYNC_INCLUDE_SENDS", "true", "The files of Sends are stored and restored."),
  included(
    "SYNC_INCLUDE_CONFIG",
    "true",
    "config.json, the key that signs logins and templates of yours are stored and restored.",
  ),
  included(
    "SYNC_INCLUDE_ICON_CACHE",
    "false",
    "The icons of websites are stored and restored; the vault fetches missing ones again.",
  ),
  included(
    "SYNC_ACCEPT_NEW_KEY",
    "false",
    "For one start: the key that signs logins may be another than the stored one, which ends every login.",
  ),
  {
    name: "LITESTREAM_DB_PATH",
    group: "Database",
    defaultText: undefined,
    accepts: "a path",
    meaning:
      "Only checked: the predecessor's path of the database must be the one that the vault's own settings give.",
    schema: text(),
  },
  {
    name: "VAULTWARDEN_BIN",
    group: "Vault",
    defaultText: undefined,
    accepts: "a path",
    meaning: "The server to start. Without it, `vaultwarden` is looked for in the PATH.",
    schema: text(),
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
  ...profileVariables,
];

function included(name: string, defaultText: string, meaning: string): Variable {
  return { name, group: "Files", defaultText, accepts: "true, false", meaning, schema: boolean() };
}
