import { describe, expect, it } from "vitest";
import type { Environment } from "./config.ts";
import {
  builtInConnInit,
  parseServerBoolean,
  readServerSettings,
  type ServerSettingsReading,
  sqlitePathOf,
} from "./server-settings.ts";

function read(
  environment: Environment,
  files: Readonly<Record<string, string>> = {},
): ServerSettingsReading {
  return readServerSettings(environment, "/srv", (path) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(path), { code: "ENOENT" });
    return text;
  });
}

describe("readServerSettings", () => {
  it("has the server's defaults", () => {
    expect(read({}).settings).toEqual({
      dataFolder: "/srv/data",
      database: "/srv/data/db.sqlite3",
      databaseConnInit: builtInConnInit,
      stopGraceMs: 10_000,
      url: "http://127.0.0.1:8000",
      aliveUrl: "http://127.0.0.1:8000/alive",
    });
  });

  it.each<[string, Environment, Readonly<Record<string, string>>, object]>([
    ["DATA_FOLDER", { DATA_FOLDER: "/vol" }, {}, { database: "/vol/db.sqlite3" }],
    [
      "DATA_FOLDER_FILE",
      { DATA_FOLDER_FILE: "/f" },
      { "/f": " /vol\n" },
      { database: "/vol/db.sqlite3" },
    ],
    [
      "ENV_FILE",
      { ENV_FILE: "my.env" },
      { "/srv/my.env": "DATA_FOLDER=/vol" },
      { database: "/vol/db.sqlite3" },
    ],
    [".env", {}, { "/srv/.env": "DATA_FOLDER='/vol'\n" }, { dataFolder: "/vol" }],
    [
      "environment before ENV_FILE",
      { DATA_FOLDER: "/a" },
      { "/srv/.env": "DATA_FOLDER=/b" },
      { dataFolder: "/a" },
    ],
    [
      "config.json before the environment",
      { DATA_FOLDER: "/vol", DATABASE_URL: "sqlite:///a.db" },
      { "/vol/config.json": '{"database_url":"sqlite:///b.db"}' },
      { database: "/b.db" },
    ],
    [
      "DATABASE_URL",
      { DATABASE_URL: "sqlite://rel/my%20vault.db?mode=rwc" },
      {},
      { database: "/srv/rel/my vault.db" },
    ],
    [
      "DATABASE_CONN_INIT",
      { DATABASE_CONN_INIT: "PRAGMA x;" },
      {},
      { databaseConnInit: "PRAGMA x;" },
    ],
    [
      "empty DATABASE_CONN_INIT",
      { DATABASE_CONN_INIT: "" },
      {},
      { databaseConnInit: builtInConnInit },
    ],
    ["ROCKET_SHUTDOWN", { ROCKET_SHUTDOWN: "{grace=8, mercy = 12}" }, {}, { stopGraceMs: 25_000 }],
    ["ROCKET_PORT", { ROCKET_PORT: "8080" }, {}, { url: "http://127.0.0.1:8080" }],
    ["ROCKET_ADDRESS", { ROCKET_ADDRESS: "0.0.0.0" }, {}, { url: "http://127.0.0.1:8000" }],
    [
      "IPv6 and TLS",
      { ROCKET_ADDRESS: "fd00::1", ROCKET_TLS: "{certs=…}" },
      {},
      { url: "https://[fd00::1]:8000" },
    ],
    [
      "DOMAIN with a path",
      { DOMAIN: "https://x.org/vault/" },
      {},
      { aliveUrl: "http://127.0.0.1:8000/vault/alive" },
    ],
    ["ENABLE_DB_WAL=yes", { ENABLE_DB_WAL: "YES" }, {}, { dataFolder: "/srv/data" }],
    ["ENABLE_DB_WAL of no boolean", { ENABLE_DB_WAL: "maybe" }, {}, { dataFolder: "/srv/data" }],
  ])("resolves %s", (_, environment, files, expected) => {
    const { settings, errors } = read(environment, files);
    expect(errors).toEqual([]);
    expect(settings).toMatchObject(expected);
  });

  it.each<[string, Environment, Readonly<Record<string, string>>, string]>([
    ["ENABLE_DB_WAL=false", { ENABLE_DB_WAL: "F" }, {}, "ENABLE_DB_WAL"],
    [
      "ENABLE_DB_WAL in config.json",
      { DATA_FOLDER: "/v" },
      { "/v/config.json": '{"enable_db_wal":false}' },
      "ENABLE_DB_WAL",
    ],
    ["a database server", { DATABASE_URL: "mysql://u:hunter2@h/db" }, {}, "DATABASE_URL"],
    ["mode=ro", { DATABASE_URL: "sqlite:///v/db?mode=ro" }, {}, "DATABASE_URL"],
    [
      "both X and X_FILE",
      { DATA_FOLDER: "/a", DATA_FOLDER_FILE: "/f" },
      { "/f": "/b" },
      "DATA_FOLDER",
    ],
    ["an ENV_FILE that is not there", { ENV_FILE: "/nowhere" }, {}, "ENV_FILE"],
    [
      "DATABASE_CONN_INIT in config.json",
      { DATA_FOLDER: "/v" },
      { "/v/config.json": '{"database_conn_init":"PRAGMA x;"}' },
      "DATABASE_CONN_INIT",
    ],
  ])("refuses %s", (_, environment, files, name) => {
    const { settings, errors } = read(environment, files);
    expect(settings).toBeUndefined();
    expect(errors.map((problem) => problem.name)).toEqual([name]);
    expect(JSON.stringify(errors)).not.toContain("hunter2");
  });

  it("warns of a config.json that the server would ignore, and ignores it too", () => {
    const { settings, warnings } = read(
      { DATA_FOLDER: "/v" },
      { "/v/config.json": '{"database_url":"sqlite:///b.db"' },
    );
    expect(settings?.database).toBe("/v/db.sqlite3");
    expect(warnings.map(({ name }) => name)).toEqual(["CONFIG_FILE"]);
  });
});

it.each([
  ["sqlite://data/db.sqlite3", "data/db.sqlite3"],
  ["sqlite:///data/db%41.sqlite3", "/data/dbA.sqlite3"],
  ["sqlite:///data/db?cache=shared#x", "/data/db"],
  ["/data/my%20db", "/data/my%20db"],
])("finds the file of %s", (url, path) => {
  expect(sqlitePathOf(url)).toEqual({ path });
});

it.each([
  "postgresql://h/db",
  "sqlite:/data/db",
  "file:/data/db",
  "sqlite://",
  "sqlite:///db?immutable=1",
  "sqlite:///db?vfs=unix-none",
  "sqlite:///db%zz",
  "sqlite:///db%00",
])("finds no file to stream in %s", (url) => {
  expect(sqlitePathOf(url)).toHaveProperty("reason");
});

it("reads booleans in the server's words only", () => {
  expect(["true", "T", "yes", "y", "1"].map(parseServerBoolean)).not.toContain(false);
  expect(["false", "f", "NO", "n", "0"].map(parseServerBoolean)).not.toContain(true);
  expect(["on", "off", "", "2"].map(parseServerBoolean)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
