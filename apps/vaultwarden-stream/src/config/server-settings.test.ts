import { describe, expect, it } from "vitest";
import type { Environment } from "./config.ts";
import {
  builtInConnInit,
  parseServerBoolean,
  readServerSettings,
  type ServerSettingsReading,
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
      database: "/srv/data/db.sqlite3",
      paths: {
        dataFolder: "/srv/data",
        attachments: "/srv/data/attachments",
        sends: "/srv/data/sends",
        iconCache: "/srv/data/icon_cache",
        rsaKey: "/srv/data/rsa_key.pem",
        configFile: "/srv/data/config.json",
        templates: "/srv/data/templates",
        tmp: "/srv/data/tmp",
        logFile: undefined,
        webVault: "/srv/web-vault",
      },
      databaseConnInit: builtInConnInit,
      stopGraceMs: 10_000,
      jobPollIntervalMs: 30_000,
      logsReadyLine: true,
      umask: undefined,
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
    [".env", {}, { "/srv/.env": "DATA_FOLDER='/vol'\n" }, { paths: { dataFolder: "/vol" } }],
    [
      "environment before ENV_FILE",
      { DATA_FOLDER: "/a" },
      { "/srv/.env": "DATA_FOLDER=/b" },
      { paths: { dataFolder: "/a" } },
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
    ["an empty WEB_VAULT_FOLDER", { WEB_VAULT_FOLDER: "" }, {}, { paths: { webVault: undefined } }],
    [
      "a folder beside tmp that begins alike",
      { SENDS_FOLDER: "data/tmp-sends" },
      {},
      { paths: { sends: "/srv/data/tmp-sends" } },
    ],
    [
      "tmp inside a tree",
      { TMP_FOLDER: "data/sends/tmp" },
      {},
      { paths: { tmp: "/srv/data/sends/tmp" } },
    ],
    [
      "templates for which the server does not look in S3",
      { TEMPLATES_FOLDER: "s3://t" },
      {},
      { paths: { templates: "/srv/s3:/t" } },
    ],
    ["an empty LOG_FILE", { LOG_FILE: "" }, {}, { paths: { logFile: undefined } }],
    ["LOG_LEVEL=warn", { LOG_LEVEL: "warn,vaultwarden=debug" }, {}, { logsReadyLine: false }],
    ["LOG_LEVEL=INFO", { LOG_LEVEL: "INFO,hyper=warn" }, {}, { logsReadyLine: true }],
    ["JOB_POLL_INTERVAL_MS", { JOB_POLL_INTERVAL_MS: "0" }, {}, { jobPollIntervalMs: 0 }],
    ["a number that is none", { JOB_POLL_INTERVAL_MS: "1e3" }, {}, { jobPollIntervalMs: 30_000 }],
    ["UMASK", { UMASK: "0027" }, { "/srv/.env": "UMASK=077" }, { umask: 0o027 }],
    ["a symbolic UMASK", { UMASK: "u=rwx" }, {}, { umask: undefined }],
    [
      "null in config.json as unset",
      { DATA_FOLDER: "/v", DATABASE_CONN_INIT: "PRAGMA x;" },
      { "/v/config.json": '{"database_conn_init":null,"sends_folder":null}' },
      { databaseConnInit: "PRAGMA x;", paths: { sends: "/v/sends" } },
    ],
    ["ENABLE_DB_WAL=yes", { ENABLE_DB_WAL: "YES" }, {}, { paths: { dataFolder: "/srv/data" } }],
    [
      "ENABLE_DB_WAL of no boolean",
      { ENABLE_DB_WAL: "maybe" },
      {},
      { paths: { dataFolder: "/srv/data" } },
    ],
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
    ["a database in no file", { DATABASE_URL: "" }, {}, "DATABASE_URL"],
    ["a data folder in S3", { DATA_FOLDER: "s3://b/data" }, {}, "DATA_FOLDER"],
    ["an empty TMP_FOLDER", { TMP_FOLDER: "" }, {}, "TMP_FOLDER"],
    ["uploads spooled over the vault's own files", { TMP_FOLDER: "/srv/data" }, {}, "TMP_FOLDER"],
    ["attachments in the spool", { ATTACHMENTS_FOLDER: "data/tmp" }, {}, "TMP_FOLDER"],
    ["the vault in the web client's folder", { WEB_VAULT_FOLDER: "." }, {}, "WEB_VAULT_FOLDER"],
    ["a config.json in S3", { CONFIG_FILE: "s3://b/config.json" }, {}, "CONFIG_FILE"],
    ["an empty folder, which is a value", { SENDS_FOLDER: "" }, {}, "SENDS_FOLDER"],
    [
      "an ENV_FILE that the server cannot read",
      {},
      { "/srv/.env": "A=1\nB = two words" },
      "ENV_FILE",
    ],
    [
      "ENV_FILE beside ENV_FILE_FILE",
      { ENV_FILE: "a", ENV_FILE_FILE: "b" },
      { "/srv/a": "", "/srv/b": "c" },
      "ENV_FILE",
    ],
    [
      "a database that only an ignored config.json names",
      { DATA_FOLDER: "/v" },
      { "/v/config.json": '{"database_url":"sqlite:///b.db","smtp_port":"25"}' },
      "DATABASE_URL",
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

  it("never reads an error as a file that is not there", () => {
    for (const name of ["/srv/.env", "/srv/data/config.json"]) {
      const { settings, errors } = readServerSettings({}, "/srv", (path) => {
        throw Object.assign(new Error(path), { code: path === name ? "EACCES" : "ENOENT" });
      });
      expect(settings).toBeUndefined();
      expect(errors).toMatchObject([{ value: name, reason: "it cannot be read (EACCES)" }]);
    }
  });

  it("skips trees that lie in S3, each with a warning", () => {
    const names = {
      ATTACHMENTS_FOLDER: "attachments",
      SENDS_FOLDER: "sends",
      ICON_CACHE_FOLDER: "iconCache",
      RSA_KEY_FILENAME: "rsaKey",
    } as const;
    for (const [name, path] of Object.entries(names)) {
      const { settings, errors, warnings } = read({ [name]: "s3://bucket/x" });
      expect(errors).toEqual([]);
      expect(settings?.paths[path]).toBeUndefined();
      expect(warnings.map((problem) => problem.name)).toEqual([name]);
    }
  });

  it("warns once of settings that the server has given up", () => {
    const { warnings } = read({ WEBSOCKET_ENABLED: "true", WEBSOCKET_PORT: "3012" });
    expect(warnings.map(({ name }) => name)).toEqual(["WEBSOCKET_ENABLED, WEBSOCKET_PORT"]);
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

describe("weakness 22: the URL that is asked whether the vault lives", () => {
  const addresses = [
    [undefined, "127.0.0.1"],
    ["", "127.0.0.1"],
    ["0.0.0.0", "127.0.0.1"],
    ["::", "127.0.0.1"],
    ["10.1.2.3", "10.1.2.3"],
    ["fd00::1", "[fd00::1]"],
  ] as const;
  const domains = [
    [undefined, ""],
    ["https://vault.example.org", ""],
    ["https://example.org:8443/vault", "/vault"],
    ["https://example.org/a/b///", "/a/b"],
    ["no URL", ""],
  ] as const;
  const ports = [
    [undefined, "8000"],
    ["80", "80"],
  ] as const;
  const schemes = [
    [undefined, "http"],
    ['{certs="/c",key="/k"}', "https"],
  ] as const;
  const cases = addresses.flatMap(([ROCKET_ADDRESS, host]) =>
    domains.flatMap(([DOMAIN, path]) =>
      ports.flatMap(([ROCKET_PORT, port]) =>
        schemes.map(([ROCKET_TLS, scheme]) => ({
          environment: { ROCKET_ADDRESS, DOMAIN, ROCKET_PORT, ROCKET_TLS },
          url: `${scheme}://${host}:${port}${path}/alive`,
        })),
      ),
    ),
  );

  it.each(cases)("is $url", ({ environment, url }) => {
    expect(read(environment).settings?.aliveUrl).toBe(url);
  });

  it("follows DOMAIN_PATH before DOMAIN, and config.json before both", () => {
    const environment = { DATA_FOLDER: "/v", DOMAIN: "https://x/a", DOMAIN_PATH: "/b" };
    const alive = (json: string): string | undefined =>
      read(environment, { "/v/config.json": json }).settings?.aliveUrl;
    expect(alive("{}")).toBe("http://127.0.0.1:8000/b/alive");
    expect(alive('{"domain_path":"/c"}')).toBe("http://127.0.0.1:8000/c/alive");
    const saved = read({ DATA_FOLDER: "/v" }, { "/v/config.json": '{"domain":"https://x/d/"}' });
    expect(saved.settings?.aliveUrl).toBe("http://127.0.0.1:8000/d/alive");
  });
});

it("reads booleans in the server's words only", () => {
  expect(["true", "T", "yes", "y", "1"].map(parseServerBoolean)).not.toContain(false);
  expect(["false", "f", "NO", "n", "0"].map(parseServerBoolean)).not.toContain(true);
  expect(["on", "off", "", " false"].map(parseServerBoolean)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
