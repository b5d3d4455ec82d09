import { expect, it } from "vitest";
import { variables } from "../config/variables.ts";
import { childEnvironment } from "./child-environment.ts";

const pragma = "\n;PRAGMA wal_autocheckpoint = 0;";

it("keeps what is ours, and every secret of ours, from the server", () => {
  const ours = [
    "S3_SECRET_ACCESS_KEY",
    "REPLICATION_SYNC_INTERVAL",
    "LITESTREAM_DB_PATH",
    "RCLONE_CONFIG_X_PASS",
    "SYNC_INCLUDE_SENDS",
    "BACKUP_PASSWORD",
    "NOTIFICATION_URL",
    "ENCRYPTION_IDENTITY",
    "STATUS_TOKEN",
    "STREAM_LOG_LEVEL",
    "STORE_DIR",
    "HEALTHCHECK_MAX_SYNC_AGE",
    "RESTORE_DRILL_INTERVAL",
    "TAILSCALE_AUTHKEY",
    "PRIMARY_SYNC_INTERVAL",
    "SECONDARY_SYNC_INTERVAL",
    "FINAL_UPLOAD_TIMEOUT",
    "NODE_ROLE",
    "DEPLOYMENT_MODE",
    "ON_DIVERGENCE",
    "ALLOW_EMPTY_START",
  ];
  const environment = Object.fromEntries(
    ours.flatMap((name) => [
      [name, "x"],
      [`${name}_FILE`, "/x"],
    ]),
  );
  expect(Object.keys(childEnvironment(environment, "X"))).toEqual(["DATABASE_CONN_INIT"]);
});

it("passes everything else unchanged, known or not", () => {
  const theirs = {
    DOMAIN: "https://vault",
    DATA_FOLDER: "/data",
    AWS_ACCESS_KEY_ID: "theirs",
    HTTPS_PROXY: "http://proxy",
    PATH: "/bin",
    SOME_LATER_SETTING: "",
  };
  expect(childEnvironment(theirs, "X")).toEqual({ ...theirs, DATABASE_CONN_INIT: `X${pragma}` });
});

it("puts its pragma on a line of its own, behind whatever the user's text ends in", () => {
  const { DATABASE_CONN_INIT } = childEnvironment(
    { DATABASE_CONN_INIT: "ignored: the resolved text counts" },
    "PRAGMA cache_size = 1 -- no semicolon",
  );
  expect(DATABASE_CONN_INIT).toBe(`PRAGMA cache_size = 1 -- no semicolon${pragma}`);
});

it("replaces DATABASE_CONN_INIT_FILE, since the server refuses both", () => {
  const child = childEnvironment({ DATABASE_CONN_INIT_FILE: "/run/init" }, "content");
  expect(child).toEqual({ DATABASE_CONN_INIT: `content${pragma}` });
});

it("knows every variable of the table, but the two that the platform's tools share", () => {
  const environment = Object.fromEntries(variables.map(({ name }) => [name, "x"]));
  const passed = Object.keys(childEnvironment(environment, "X")).toSorted();
  expect(passed).toEqual(["DATABASE_CONN_INIT", "SHUTDOWN_TIMEOUT", "VAULTWARDEN_BIN"]);
});
