import { describe, expect, it } from "vitest";
import { type ConfigReading, type Environment, readConfig } from "./config.ts";
import { formatProblem } from "./config-problem.ts";

const noFiles = (path: string): string => {
  throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
};

function read(
  environment: Environment,
  files: Readonly<Record<string, string>> = {},
): ConfigReading {
  return readConfig(
    { STORE_DIR: "/store", ...environment },
    (path) => files[path] ?? noFiles(path),
  );
}

function errorNames(reading: ConfigReading): readonly string[] {
  return reading.errors.map(({ name }) => name);
}

describe("readConfig", () => {
  it("needs nothing but a store", () => {
    const { config, errors, warnings } = read({});
    expect({ errors, warnings }).toEqual({ errors: [], warnings: [] });
    expect(config).toEqual({
      store: "/store",
      mustAnswer: false,
      allowsEmptyStart: false,
      onDivergence: "stop",
      deploymentMode: "persistent",
      syncIntervalMs: 1_000,
      tailTimeoutMs: 30_000,
      shutdownTimeoutMs: 300_000,
      vaultwardenBin: undefined,
      litestreamDbPath: undefined,
      logLevel: "info",
      logFormat: "text",
    });
  });

  it.each([
    ["REPLICATION_SYNC_INTERVAL", "250ms", { syncIntervalMs: 250 }],
    ["REPLICATION_SYNC_INTERVAL", "1m30s", { syncIntervalMs: 90_000 }],
    ["LITESTREAM_SYNC_INTERVAL", "2s", { syncIntervalMs: 2_000 }],
    ["REPLICATION_SHUTDOWN_TIMEOUT", "15", { tailTimeoutMs: 15_000 }],
    ["REPLICATION_SHUTDOWN_TIMEOUT", "1m", { tailTimeoutMs: 60_000 }],
    ["LITESTREAM_SHUTDOWN_TIMEOUT", "15", { tailTimeoutMs: 15_000 }],
    ["SHUTDOWN_TIMEOUT", "10", { shutdownTimeoutMs: 10_000 }],
    ["VAULTWARDEN_BIN", "/usr/bin/vw", { vaultwardenBin: "/usr/bin/vw" }],
    ["LITESTREAM_DB_PATH", "/data/db.sqlite3", { litestreamDbPath: "/data/db.sqlite3" }],
    ["STREAM_LOG_LEVEL", "DEBUG", { logLevel: "debug" }],
    ["STREAM_LOG_LEVEL", "warning", { logLevel: "warn" }],
    ["STREAM_LOG_FORMAT", "json", { logFormat: "json" }],
    ["NODE_ROLE", "Primary", {}],
    ["DEPLOYMENT_MODE", "persistent", { deploymentMode: "persistent" }],
    ["DEPLOYMENT_MODE", "serverless", { shutdownTimeoutMs: 10_000 }],
    ["REPLICATION_SYNC_INTERVAL", "", { syncIntervalMs: 1_000 }],
    ["BACKUP_ENABLED", "false", {}],
    ["SYNC_INCLUDE_SENDS", "No", {}],
    ["RESTORE_DRILL_INTERVAL", "0", {}],
    ["S3_BUCKET", "", {}],
    ["ON_DIVERGENCE", "Remote", { onDivergence: "remote" }],
  ])("takes %s=%s", (name, value, expected) => {
    const { config, errors } = read({ [name]: value });
    expect(errors).toEqual([]);
    expect(config).toMatchObject(expected);
  });

  it.each([
    ["STORE_DIR", "", "S3_SECRET_ACCESS_KEY; or STORE_DIR=<directory>", "S3_BUCKET"],
    ["STORE_DIR", "s3://vault/prefix", "S3 is set by S3_BUCKET"],
    ["S3_BUCKET", "vault", "keep one of the two", "STORE_DIR"],
    ["ON_DIVERGENCE", "newest", "write stop, local, remote"],
    ["REPLICATION_SYNC_INTERVAL", "5", "write a number with its unit"],
    ["REPLICATION_SYNC_INTERVAL", "1ms", "out of range"],
    ["REPLICATION_SYNC_INTERVAL", "soon", "write a number with its unit"],
    ["REPLICATION_SHUTDOWN_TIMEOUT", "-1", "write seconds, like 30"],
    ["SHUTDOWN_TIMEOUT", "0", "out of range"],
    ["NODE_ROLE", "", "taken for an accident; write primary"],
    ["NODE_ROLE", "secondary", "a standby comes with a later release"],
    ["STREAM_LOG_LEVEL", "loud", "write error, warn"],
    ["STREAM_LOG_FORMAT", "xml", "write text, json"],
    ["BACKUP_ENABLED", "true", "backup archives come with a later release"],
    ["NOTIFICATION_URL", "https://ping", "notifications come with a later release"],
    ["PRIMARY_SYNC_INTERVAL", "300", "attachments, sends and keys comes with a later release"],
    ["ENCRYPTION_RECIPIENTS", "age1…", "encryption comes with a later release"],
    ["ENCRYPTION_KEY", "x", "there is no such setting"],
  ])("refuses %s=%s and says what to do", (name, value, remedy, reported = name) => {
    const reading = read({ [name]: value });
    expect(reading.config).toBeUndefined();
    expect(errorNames(reading)).toEqual([reported]);
    expect(reading.errors.map(formatProblem).join()).toContain(remedy);
  });

  it("names everything that is wrong in one reading", () => {
    const reading = readConfig(
      {
        S3_BUCKET: "b",
        S3_ENDPOINT: "ftp://x",
        S3_LIST_VERSION: "3",
        SHUTDOWN_TIMEOUT: "x",
        NODE_ROLE: "",
        ENCRYPTION_FOO: "1",
      },
      noFiles,
    );
    expect(errorNames(reading).toSorted()).toEqual([
      "ENCRYPTION_FOO",
      "NODE_ROLE",
      "S3_ACCESS_KEY_ID",
      "S3_ENDPOINT",
      "S3_LIST_VERSION",
      "S3_SECRET_ACCESS_KEY",
      "SHUTDOWN_TIMEOUT",
    ]);
  });

  it("never prints a value that may be a secret", () => {
    const { errors, warnings } = read({
      S3_SECRET_ACCESS_KEY: "hunter2",
      BACKUP_PASSWORD: "hunter2",
      ENCRYPTION_IDENTITY: "hunter2",
      NOTIFICATION_URL: "https://hunter2",
      S3_SECRT: "hunter2",
      S3_ENDPOINT: "https://key:hunter2@s3.example.org",
      S3_EXTRA_HEADERS: "hunter2",
    });
    expect(errors.length).toBeGreaterThan(3);
    expect([...errors, ...warnings].map(formatProblem).join("\n")).not.toContain("hunter2");
  });

  it("reads NAME_FILE without its final white space", () => {
    const { config } = read(
      { STORE_DIR: undefined, STORE_DIR_FILE: "/run/store" },
      { "/run/store": "/from/file\n" },
    );
    expect(config?.store).toBe("/from/file");
  });

  it("refuses NAME_FILE that cannot be read, and NAME beside NAME_FILE", () => {
    const unreadable = read({ VAULTWARDEN_BIN_FILE: "/nowhere" });
    expect(errorNames(unreadable)).toEqual(["VAULTWARDEN_BIN_FILE"]);
    const both = read({ STORE_DIR_FILE: "/run/store" }, { "/run/store": "/elsewhere" });
    expect(errorNames(both)).toEqual(["STORE_DIR"]);
    expect(both.errors[0]?.reason).toContain("STORE_DIR_FILE is set too");
  });

  it("lets an alias pass with one notice, and refuses one that says something else", () => {
    const same = read({
      LITESTREAM_SYNC_INTERVAL: "2s",
      REPLICATION_SYNC_INTERVAL: "2s",
      LITESTREAM_SHUTDOWN_TIMEOUT: "15",
    });
    expect(same.errors).toEqual([]);
    expect(same.warnings.map(({ name }) => name)).toEqual([
      "LITESTREAM_SYNC_INTERVAL = REPLICATION_SYNC_INTERVAL, LITESTREAM_SHUTDOWN_TIMEOUT = REPLICATION_SHUTDOWN_TIMEOUT",
    ]);
    const other = read({ LITESTREAM_SYNC_INTERVAL: "2s", REPLICATION_SYNC_INTERVAL: "3s" });
    expect(errorNames(other)).toEqual(["LITESTREAM_SYNC_INTERVAL"]);
  });

  it("only warns about settings of a part that is switched off", () => {
    const { errors, warnings } = read({ BACKUP_CRON: "0 0 * * *", RCLONE_CONFIG_X_TYPE: "drive" });
    expect(errors).toEqual([]);
    expect(warnings.map(({ name }) => name)).toEqual(["BACKUP_CRON", "RCLONE_CONFIG_X_TYPE"]);
  });

  it("answers an unknown name of ours with the nearest known one, and leaves the server's alone", () => {
    const { errors, warnings } = read({
      REPLICATION_SYNC_INTERVALL: "1s",
      SIGNUPS_ALLOWED: "false",
      DOMAIN: "https://vault",
    });
    expect(errors).toEqual([]);
    expect(warnings.map(formatProblem)).toEqual([
      "REPLICATION_SYNC_INTERVALL: there is no such setting; did you mean REPLICATION_SYNC_INTERVAL?",
    ]);
  });
});
