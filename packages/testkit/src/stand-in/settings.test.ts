import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readSettings, StartFailure } from "./settings.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "settings-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const read = (environment: Record<string, string> = {}) =>
  readSettings({ DATA_FOLDER: directory, ...environment });

function exitCodeOf(environment: Record<string, string>): number | undefined {
  try {
    read(environment);
  } catch (error) {
    if (error instanceof StartFailure) return error.exitCode;
    throw error;
  }
  return undefined;
}

describe("readSettings", () => {
  test("has the server's defaults", () => {
    expect(read()).toMatchObject({
      databasePath: join(directory, "db.sqlite3"),
      rsaKeyPath: join(directory, "rsa_key.pem"),
      enableDbWal: true,
      databaseConnInit: "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL;",
      jobPollIntervalMs: 30_000,
      port: 8000,
      basePath: "",
      shutdownGraceMs: 2000,
      shutdownMercyMs: 3000,
    });
  });

  test.each([
    ["No", false],
    ["0", false],
    ["Y", true],
    ["maybe", true],
    ["", true],
  ])("SIGNUPS_ALLOWED=%s means %s: what is no boolean is ignored", (value, expected) => {
    expect(read({ SIGNUPS_ALLOWED: value }).signupsAllowed).toBe(expected);
  });

  test("ignores a number that is none", () => {
    expect(read({ DATABASE_MAX_CONNS: "ten" }).databaseMaxConns).toBe(10);
    expect(read({ JOB_POLL_INTERVAL_MS: "0" }).jobPollIntervalMs).toBe(0);
  });

  test("takes a value from its file, trimmed, and refuses both", () => {
    const file = join(directory, "init.sql");
    writeFileSync(file, "PRAGMA busy_timeout = 1;\n\n");
    expect(read({ DATABASE_CONN_INIT_FILE: file }).databaseConnInit).toBe(
      "PRAGMA busy_timeout = 1;",
    );
    expect(exitCodeOf({ DATABASE_CONN_INIT_FILE: file, DATABASE_CONN_INIT: "x" })).toBe(12);
  });

  test("lets config.json beat the environment, and ignores one that does not parse", () => {
    writeFileSync(join(directory, "config.json"), '{"domain": "https://a.example/vault/"}');
    expect(read({ DOMAIN: "https://b.example" })).toMatchObject({
      domainOrigin: "https://a.example",
      basePath: "/vault",
    });
    writeFileSync(join(directory, "config.json"), '{"domain": "https://a.exa');
    expect(read({ DOMAIN: "https://b.example" }).domainOrigin).toBe("https://b.example");
  });

  test("reads sqlite:// as a URI, and a bare path literally", () => {
    const uri = read({ DATABASE_URL: `sqlite://${directory}/db%41?mode=ro` });
    expect(uri).toMatchObject({ databasePath: join(directory, "dbA"), databaseReadOnly: true });
    expect(exitCodeOf({ DATABASE_URL: join(directory, "none") })).toBe(12);
    writeFileSync(join(directory, "db%41"), "");
    expect(read({ DATABASE_URL: join(directory, "db%41") }).databasePath).toBe(
      join(directory, "db%41"),
    );
  });

  test.each([
    [{ DATABASE_URL: "sqlite:///nonexistent/db" }, 12],
    [{ DATABASE_URL: "mysql://x" }, 12],
    [{ ROCKET_PORT: "http" }, 101],
    [{ ENV_FILE: "/nonexistent" }, 255],
  ])("%o ends the start with exit code %i", (environment, exitCode) => {
    expect(exitCodeOf(environment as Record<string, string>)).toBe(exitCode);
  });

  test("reads ENV_FILE, which the environment beats", () => {
    const file = join(directory, "env");
    writeFileSync(file, "DATABASE_MIN_CONNS=5\nDATABASE_MAX_CONNS=6\n");
    expect(read({ ENV_FILE: file, DATABASE_MAX_CONNS: "7" })).toMatchObject({
      databaseMinConns: 5,
      databaseMaxConns: 7,
    });
  });

  test("reads Rocket's shutdown times", () => {
    expect(read({ ROCKET_SHUTDOWN: "{grace=8,mercy=1}" })).toMatchObject({
      shutdownGraceMs: 8000,
      shutdownMercyMs: 1000,
    });
  });
});
