import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Environment } from "./config.ts";
import { readServerSettings, type ServerSettings } from "./server-settings.ts";

/**
 * The predecessor stored `/data/attachments` whatever the server had been told, and said that all was well. Here every setting that we
 * depend on is given in every way that the server knows, in real files, each with a decoy in the way of the next lower rank.
 */
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weakness-13-"));
  mkdirSync(join(directory, "data"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Case {
  readonly name: string;
  readonly value: string;
  /** Of the value's type, where that is no text in JSON. */
  readonly json?: unknown;
  readonly decoy: string;
  readonly read: (settings: ServerSettings) => unknown;
  /** What is read, if it is not the value itself. */
  readonly expected?: unknown;
}

const cases: readonly Case[] = [
  path("DATA_FOLDER", ({ paths }) => paths.dataFolder),
  path("ATTACHMENTS_FOLDER", ({ paths }) => paths.attachments),
  path("SENDS_FOLDER", ({ paths }) => paths.sends),
  path("ICON_CACHE_FOLDER", ({ paths }) => paths.iconCache),
  path("TEMPLATES_FOLDER", ({ paths }) => paths.templates),
  path("TMP_FOLDER", ({ paths }) => paths.tmp),
  path("LOG_FILE", ({ paths }) => paths.logFile),
  path("WEB_VAULT_FOLDER", ({ paths }) => paths.webVault),
  { ...path("RSA_KEY_FILENAME", ({ paths }) => paths.rsaKey), expected: "/moved/here.pem" },
  {
    name: "DATABASE_URL",
    value: "sqlite:///moved/v.db",
    decoy: "sqlite:///decoy.db",
    read: ({ database }) => database,
    expected: "/moved/v.db",
  },
  {
    name: "DOMAIN",
    value: "https://x/base",
    decoy: "https://x/decoy",
    read: ({ aliveUrl }) => new URL(aliveUrl).pathname,
    expected: "/base/alive",
  },
  {
    name: "DOMAIN_PATH",
    value: "/base",
    decoy: "/decoy",
    read: ({ aliveUrl }) => new URL(aliveUrl).pathname,
    expected: "/base/alive",
  },
  {
    name: "LOG_LEVEL",
    value: "off",
    decoy: "debug",
    read: ({ logsReadyLine }) => logsReadyLine,
    expected: false,
  },
  {
    name: "JOB_POLL_INTERVAL_MS",
    value: "7",
    json: 7,
    decoy: "8",
    read: ({ jobPollIntervalMs }) => jobPollIntervalMs,
    expected: 7,
  },
  {
    name: "ENABLE_DB_WAL",
    value: "true",
    json: true,
    decoy: "false",
    read: ({ paths }) => paths.dataFolder,
    expected: expect.any(String),
  },
];

it.each(cases)("weakness 13: $name is found in the environment", (given) => {
  write(".env", `${given.name}=${given.decoy}\n`);
  expectFound(given, { [given.name]: given.value });
});

it.each(cases)("weakness 13: $name is found in the file that NAME_FILE names", (given) => {
  write("secret", `  ${given.value}\n`);
  expectFound(given, { [`${given.name}_FILE`]: "secret" });
});

it.each(cases)("weakness 13: $name is found in ENV_FILE", (given) => {
  write(".env", `${given.name}=${given.decoy}\n`);
  write("my.env", `# mine\nexport ${given.name} = "${given.value}" # there\n`);
  write("which", "my.env\n");
  expectFound(given, { ENV_FILE: "my.env" });
  expectFound(given, { ENV_FILE_FILE: "which" });
});

it.each(cases)("weakness 13: $name is found in .env", (given) => {
  write(".env", `${given.name}='${given.value}'\n`);
  expectFound(given, {});
});

it.each(cases)("weakness 13: $name is found in config.json, before all others", (given) => {
  const key = given.name.toLowerCase();
  const content = JSON.stringify({ [key]: given.json ?? given.value, later_setting: [{}] });
  write("data/config.json", content);
  expectFound(given, {});
  // The folder that config.json lies in is not looked for in config.json.
  if (given.name !== "DATA_FOLDER") {
    write(".env", `${given.name}=${given.decoy}\n`);
    expectFound(given, {});
    expectFound(given, { [given.name]: given.decoy });
  }
  write("elsewhere.json", content);
  write("data/config.json", JSON.stringify({ [key]: given.decoy }));
  expectFound(given, { CONFIG_FILE: "elsewhere.json" });
  write("which", "elsewhere.json\n");
  expectFound(given, { CONFIG_FILE_FILE: "which" });
});

it.each(["environment", "_FILE", "ENV_FILE", ".env"])(
  "weakness 13: the statements for connections are found in %s, and refused in config.json",
  (where) => {
    const value = "PRAGMA cache_size = 7;";
    write("init", `${value}\n`);
    write("my.env", `DATABASE_CONN_INIT="${value}"\n`);
    if (where === ".env") write(".env", `DATABASE_CONN_INIT="${value}"\n`);
    const environment = {
      environment: { DATABASE_CONN_INIT: value },
      _FILE: { DATABASE_CONN_INIT_FILE: "init" },
      ENV_FILE: { ENV_FILE: "my.env" },
    }[where];
    expect(settingsOf(environment ?? {}).databaseConnInit).toBe(value);
    write("data/config.json", JSON.stringify({ database_conn_init: value }));
    const { settings, errors } = reading(environment ?? {});
    expect(settings).toBeUndefined();
    expect(errors.map(({ name }) => name)).toEqual(["DATABASE_CONN_INIT"]);
  },
);

it.each([
  ["ROCKET_ADDRESS", "10.0.0.7"],
  ["ROCKET_PORT", "1234"],
  ["ROCKET_TLS", "{certs}"],
])(
  "weakness 13: %s is Rocket's: in the environment and ENV_FILE, and nowhere else",
  (name, value) => {
    const standard = settingsOf({}).url;
    const moved = settingsOf({ [name]: value }).url;
    expect(moved).not.toBe(standard);
    write("secret", value);
    expect(settingsOf({ [`${name}_FILE`]: "secret" }).url).toBe(standard);
    write("data/config.json", JSON.stringify({ [name.toLowerCase()]: value }));
    expect(settingsOf({}).url).toBe(standard);
    write(".env", `${name}=${value}`);
    expect(settingsOf({}).url).toBe(moved);
  },
);

function path(name: string, read: Case["read"]): Case {
  return { name, value: "/moved/here", decoy: "/decoy", read };
}

function expectFound({ value, expected = value, read }: Case, environment: Environment): void {
  expect(read(settingsOf(environment))).toEqual(expected);
}

function settingsOf(environment: Environment): ServerSettings {
  const { settings, errors } = reading(environment);
  expect(errors).toEqual([]);
  return settings as ServerSettings;
}

function reading(environment: Environment): ReturnType<typeof readServerSettings> {
  return readServerSettings(environment, directory, (file) => readFileSync(file, "utf8"));
}

function write(name: string, text: string): void {
  writeFileSync(join(directory, name), text);
}
