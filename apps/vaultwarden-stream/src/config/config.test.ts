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

/** What the predecessor's image sets, and the store that its user has to name. */
const predecessor: Environment = {
  S3_PROVIDER: "Cloudflare",
  S3_BUCKET: "vault",
  S3_ENDPOINT: "https://account.r2.cloudflarestorage.com",
  S3_ACCESS_KEY_ID: "key",
  S3_SECRET_ACCESS_KEY: "secret",
  S3_PREFIX: "vaultwarden",
  S3_REGION: "auto",
  S3_ACL: "private",
  S3_NO_CHECK_BUCKET: "true",
  NODE_ROLE: "primary",
  DEPLOYMENT_MODE: "persistent",
  PRIMARY_SYNC_INTERVAL: "300",
  SECONDARY_SYNC_INTERVAL: "3600",
  RCLONE_REMOTE_NAME: "S3",
  HEALTHCHECK_MAX_SYNC_AGE: "600",
  LITESTREAM_DB_PATH: "/data/db.sqlite3",
  LITESTREAM_SYNC_INTERVAL: "1s",
  LITESTREAM_SNAPSHOT_INTERVAL: "30m",
  LITESTREAM_RETENTION: "24h",
  LITESTREAM_VALIDATION_INTERVAL: "",
  LITESTREAM_SHUTDOWN_TIMEOUT: "30",
  LITESTREAM_FORCE_PATH_STYLE: "false",
  LITESTREAM_SKIP_VERIFY: "false",
  SYNC_INCLUDE_ATTACHMENTS: "true",
  SYNC_INCLUDE_SENDS: "true",
  SYNC_INCLUDE_CONFIG: "true",
  SYNC_INCLUDE_ICON_CACHE: "false",
  SYNC_SHUTDOWN_TIMEOUT: "60",
  BACKUP_ENABLED: "false",
  BACKUP_CRON: "0 0 * * *",
  BACKUP_FORMAT: "tar.gz",
  BACKUP_RETENTION_DAYS: "30",
  BACKUP_MIN_KEEP: "3",
  BACKUP_ON_STARTUP: "false",
  BACKUP_SHUTDOWN_TIMEOUT: "180",
  BACKUP_REMOTES: "",
  NOTIFICATION_URL: "",
  NOTIFICATION_EVENTS: "",
  NOTIFICATION_TIMEOUT: "10",
  TAILSCALE_ENABLED: "false",
  TAILSCALE_HOSTNAME: "vaultwarden",
  I_REALLY_WANT_VOLATILE_STORAGE: "true",
};

describe("readConfig", () => {
  it("needs nothing but a store", () => {
    const { config, errors, warnings } = read({});
    expect({ errors, warnings }).toEqual({ errors: [], warnings: [] });
    expect(config).toEqual({
      store: "/store",
      limits: {},
      mustAnswer: false,
      drillIntervalMs: 86_400_000,
      allowsEmptyStart: false,
      onDivergence: "stop",
      deploymentMode: "persistent",
      syncIntervalMs: 1_000,
      snapshotIntervalMs: 86_400_000,
      retentionMs: 30 * 86_400_000,
      files: {
        include: { attachments: true, sends: true, config: true, iconCache: false },
        lookIntervalMs: 300_000,
        acceptsNewKey: false,
        pushTimeoutMs: 60_000,
      },
      health: { maxSyncAgeMs: 600_000 },
      statusHttp: { host: "127.0.0.1", port: 9464, token: undefined },
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
    ["BACKUP_ENABLED", "0", {}],
    ["SYNC_INCLUDE_ATTACHMENTS", "off", { files: { include: { attachments: false } } }],
    ["SYNC_INCLUDE_SENDS", "No", { files: { include: { sends: false } } }],
    ["SYNC_INCLUDE_CONFIG", "0", { files: { include: { config: false } } }],
    ["SYNC_INCLUDE_ICON_CACHE", "TRUE", { files: { include: { iconCache: true } } }],
    ["PRIMARY_SYNC_INTERVAL", "60", { files: { lookIntervalMs: 60_000 } }],
    ["PRIMARY_SYNC_INTERVAL", "1m30s", { files: { lookIntervalMs: 90_000 } }],
    ["SYNC_SHUTDOWN_TIMEOUT", "20", { files: { pushTimeoutMs: 20_000 } }],
    ["FINAL_UPLOAD_TIMEOUT", "45", { files: { pushTimeoutMs: 45_000 } }],
    ["HEALTHCHECK_MAX_SYNC_AGE", "900", { health: { maxSyncAgeMs: 900_000 } }],
    ["HEALTHCHECK_SYNC_MAX_AGE", "900", { health: { maxSyncAgeMs: 900_000 } }],
    ["REPLICATION_SNAPSHOT_INTERVAL", "12h", { snapshotIntervalMs: 43_200_000 }],
    ["LITESTREAM_SNAPSHOT_INTERVAL", "30m", { snapshotIntervalMs: 1_800_000 }],
    ["REPLICATION_RETENTION", "365d", { retentionMs: 365 * 86_400_000 }],
    ["LITESTREAM_RETENTION", "24h", { retentionMs: 86_400_000 }],
    ["STATUS_LISTEN", "localhost:80", { statusHttp: { host: "localhost", port: 80 } }],
    ["STATUS_LISTEN", "127.8.0.1:0", { statusHttp: { host: "127.8.0.1", port: 0 } }],
    ["STATUS_LISTEN", "[::1]:65535", { statusHttp: { host: "::1", port: 65_535 } }],
    ["STATUS_TOKEN", "abc", { statusHttp: { token: "abc" } }],
    ["DEPLOYMENT_MODE", "serverless", { tailTimeoutMs: 10_000, files: { pushTimeoutMs: 10_000 } }],
    ["LITESTREAM_REPLICA_PATH", "vaultwarden/db.sqlite3", {}],
    ["RESTORE_DRILL_INTERVAL", "0", { drillIntervalMs: 0 }],
    ["RESTORE_DRILL_INTERVAL", "off", { drillIntervalMs: 0 }],
    ["RESTORE_DRILL_INTERVAL", "6h", { drillIntervalMs: 21_600_000 }],
    ["LITESTREAM_VALIDATION_INTERVAL", "12h", { drillIntervalMs: 43_200_000 }],
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
    ["RESTORE_DRILL_INTERVAL", "5s", "out of range"],
    ["RESTORE_DRILL_INTERVAL", "daily", "write a number with its unit"],
    ["LITESTREAM_REPLICA_PATH", "elsewhere/db", "the import of the predecessor's bucket comes"],
    ["PRIMARY_SYNC_INTERVAL", "0", "out of range"],
    ["PRIMARY_SYNC_INTERVAL", "25d", "out of range"],
    ["SYNC_INCLUDE_SENDS", "maybe", "write true or false"],
    ["SYNC_SHUTDOWN_TIMEOUT", "soon", "write seconds, like 30"],
    ["HEALTHCHECK_MAX_SYNC_AGE", "0", "out of range"],
    ["REPLICATION_RETENTION", "0", "out of range"],
    ["REPLICATION_RETENTION", "30", "write a number with its unit"],
    ["STATUS_LISTEN", "9464", "write it like 127.0.0.1:9464"],
    ["STATUS_LISTEN", "127.0.0.1:65536", "write it like 127.0.0.1:9464"],
    ["STATUS_LISTEN", "[vault]:80", "write it like 127.0.0.1:9464"],
    ["STATUS_LISTEN", "0.0.0.0:9464", "set STATUS_TOKEN_FILE=<file>", "STATUS_TOKEN"],
    ["STATUS_LISTEN", "[::]:9464", "set STATUS_TOKEN_FILE=<file>", "STATUS_TOKEN"],
    ["STATUS_LISTEN", "vault.example.org:80", "set STATUS_TOKEN_FILE=<file>", "STATUS_TOKEN"],
    ["STATUS_TOKEN", "two words", "without spaces"],
    ["RCLONE_FLAGS", "--transfers 4 --dry-run", "there is no rclone here"],
    ["RCLONE_FLAGS", "--s3-server-side-encryption=aws:kms", "there is no rclone here"],
    ["RCLONE_S3_SSE_CUSTOMER_KEY", "hunter2", "there is no rclone here"],
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

  it("warns of each spelling of a past version, and refuses one that says something else", () => {
    const old = read({ FINAL_UPLOAD_TIMEOUT: "30", HEALTHCHECK_SYNC_MAX_AGE: "700" });
    expect(old.errors).toEqual([]);
    expect(old.warnings.map(formatProblem)).toEqual([
      "HEALTHCHECK_SYNC_MAX_AGE: it is the spelling of a past version, and still good; write HEALTHCHECK_MAX_SYNC_AGE",
      "FINAL_UPLOAD_TIMEOUT: it is the spelling of a past version, and still good; write SYNC_SHUTDOWN_TIMEOUT",
    ]);
    const other = read({ FINAL_UPLOAD_TIMEOUT: "30", SYNC_SHUTDOWN_TIMEOUT: "60" });
    expect(errorNames(other)).toEqual(["FINAL_UPLOAD_TIMEOUT"]);
  });

  it("lets other machines see the status only with a secret", () => {
    const { config } = read({ STATUS_LISTEN: "0.0.0.0:9464", STATUS_TOKEN: "secret" });
    expect(config?.statusHttp).toEqual({ host: "0.0.0.0", port: 9464, token: "secret" });
  });

  it("warns once of Tailscale, if it is on", () => {
    const on = read({ TAILSCALE_ENABLED: "true", TAILSCALE_HOSTNAME: "v", TAILSCALE_AUTHKEY: "k" });
    expect(on.warnings.map(({ name }) => name)).toEqual(["TAILSCALE_ENABLED"]);
    expect(read({ TAILSCALE_ENABLED: "false", TAILSCALE_HOSTNAME: "v" }).warnings).toEqual([]);
  });

  it("starts in an environment of the predecessor, all its image's defaults and no backups", () => {
    const { config, errors, warnings } = readConfig(predecessor, noFiles);
    expect(errors).toEqual([]);
    expect(config).toMatchObject({
      syncIntervalMs: 1_000,
      snapshotIntervalMs: 1_800_000,
      retentionMs: 86_400_000,
      tailTimeoutMs: 30_000,
      files: { lookIntervalMs: 300_000, pushTimeoutMs: 60_000 },
      health: { maxSyncAgeMs: 600_000 },
    });
    expect(warnings.map(({ name }) => name)).toEqual([
      "SECONDARY_SYNC_INTERVAL",
      expect.stringMatching(/^BACKUP_CRON, .*BACKUP_SHUTDOWN_TIMEOUT$/),
      "NOTIFICATION_TIMEOUT",
      "RCLONE_REMOTE_NAME",
      expect.stringContaining("LITESTREAM_SYNC_INTERVAL = REPLICATION_SYNC_INTERVAL"),
    ]);
  });

  it("only warns about settings of a part that is switched off", () => {
    const { errors, warnings } = read({ BACKUP_CRON: "0 0 * * *", RCLONE_CONFIG_X_TYPE: "drive" });
    expect(errors).toEqual([]);
    expect(warnings.map(({ name }) => name)).toEqual(["BACKUP_CRON", "RCLONE_CONFIG_X_TYPE"]);
    const unset = read({ RCLONE_DRY_RUN: "false", RCLONE_FLAGS: "-v --dry-run=false" });
    expect(unset.errors).toEqual([]);
    const off = read({ BACKUP_ENABLED_FILE: "/run/off" }, { "/run/off": "false\n" });
    expect(off).toMatchObject({ errors: [], warnings: [] });
    const on = read({ BACKUP_ENABLED_FILE: "/run/on" }, { "/run/on": "true\n" });
    expect(errorNames(on)).toEqual(["BACKUP_ENABLED"]);
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
