import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ConfigProblem } from "../config/config-problem.ts";
import type { Environment } from "../config/environment.ts";
import { readServerSettings, type ServerSettings } from "../config/server-settings.ts";
import { environmentDisagreements, readChildEnviron } from "./child-environ.ts";
import { childEnvironment } from "./child-environment.ts";

let directory: string;
let child: ChildProcess | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "child-environ-"));
});
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  child = undefined;
  rmSync(directory, { recursive: true, force: true });
});

const readTextFile = (path: string): string => readFileSync(path, "utf8");

function settingsOf(environment: Environment): ServerSettings {
  const { settings, errors } = readServerSettings(environment, directory, readTextFile);
  expect(errors).toEqual([]);
  return settings as ServerSettings;
}

function compare(ours: ServerSettings, environment: Environment): readonly ConfigProblem[] {
  return environmentDisagreements(ours, {
    environment,
    workingDirectory: directory,
    readTextFile,
  });
}

describe("the server's own environment", () => {
  const ours = { DATA_FOLDER: "/data", DOMAIN: "https://x", PATH: "/usr/bin:/bin" };

  it("agrees with what it was started with", async () => {
    const settings = settingsOf(ours);
    const environment = await started(childEnvironment(ours, settings.databaseConnInit), "");
    expect(environment).toMatchObject({ DATA_FOLDER: "/data", ODD: "a=b\nc" });
    expect(compare(settings, environment)).toEqual([]);
  });

  it("agrees where a hook only says the same in other words", async () => {
    const settings = settingsOf(ours);
    const environment = await started(
      childEnvironment(ours, settings.databaseConnInit),
      "export ATTACHMENTS_FOLDER=/data/attachments DATABASE_URL=sqlite:///data/db.sqlite3 SIGNUPS_ALLOWED=false",
    );
    expect(compare(settings, environment)).toEqual([]);
  });

  it("disagrees where a hook has moved the database, with both values", async () => {
    const settings = settingsOf(ours);
    const environment = await started(
      childEnvironment(ours, settings.databaseConnInit),
      "export DATABASE_URL=sqlite:///elsewhere/db",
    );
    expect(compare(settings, environment)).toMatchObject([
      {
        name: "DATABASE_URL",
        reason: expect.stringMatching(/"\/data\/db\.sqlite3".*"\/elsewhere\/db"/),
      },
    ]);
  });
});

describe("environmentDisagreements", () => {
  const base = { DATA_FOLDER: "/data" };

  function disagreeing(changes: Environment): readonly string[] {
    const settings = settingsOf(base);
    const child = childEnvironment(base, settings.databaseConnInit);
    return compare(settings, { ...child, ...changes }).map(({ name }) => name);
  }

  it.each([
    ["DATABASE_URL", "sqlite:///x/db"],
    ["DATABASE_CONN_INIT", "PRAGMA busy_timeout = 1;"],
    ["ATTACHMENTS_FOLDER", "/x"],
    ["SENDS_FOLDER", "/x"],
    ["ICON_CACHE_FOLDER", "/x"],
    ["RSA_KEY_FILENAME", "/x"],
    ["CONFIG_FILE", "/x"],
    ["TEMPLATES_FOLDER", "/x"],
    ["TMP_FOLDER", "/x"],
    ["LOG_FILE", "/x"],
    ["WEB_VAULT_FOLDER", "/x"],
    ["ROCKET_SHUTDOWN", "{grace=60}"],
    ["JOB_POLL_INTERVAL_MS", "0"],
    ["UMASK", "077"],
  ])("names %s", (name, value) => {
    expect(disagreeing({ [name]: value })).toEqual([name]);
  });

  it.each([
    ["DOMAIN", "https://x/base"],
    ["ROCKET_PORT", "81"],
    ["ROCKET_TLS", "{certs}"],
  ])("names what the health check's URL is made of, for %s", (name, value) => {
    expect(disagreeing({ [name]: value }).join()).toContain(name);
  });

  it("names everything that moves with the data folder", () => {
    expect(disagreeing({ DATA_FOLDER: "/moved" })).toEqual(
      expect.arrayContaining(["DATA_FOLDER", "DATABASE_URL", "ATTACHMENTS_FOLDER", "CONFIG_FILE"]),
    );
  });

  it("passes on why the server's settings cannot be used", () => {
    expect(disagreeing({ ENABLE_DB_WAL: "false" })).toEqual(["ENABLE_DB_WAL"]);
  });

  it("sees a config.json that has come since the settings were read", () => {
    const environment = { DATA_FOLDER: directory };
    const settings = settingsOf(environment);
    const child = childEnvironment(environment, settings.databaseConnInit);
    writeFileSync(join(directory, "config.json"), '{"sends_folder":"/moved"}');
    expect(compare(settings, child).map(({ name }) => name)).toEqual(["SENDS_FOLDER"]);
  });
});

it("does not take a process that has ended for one that agrees", async () => {
  const ended = spawn("/bin/true");
  await once(ended, "exit");
  expect(readChildEnviron(ended.pid as number)).toEqual({ unreadable: "ENOENT" });
});

/** Starts a server as the image does: a shell with a hook that executes it in its own place. @returns what `/proc` says of it. */
async function started(environment: Record<string, string>, hook: string): Promise<Environment> {
  child = spawn("/bin/sh", ["-c", `${hook}\nexec sleep 60`], {
    env: { ...environment, ODD: "a=b\nc" },
    stdio: "ignore",
  });
  const { pid } = child;
  for (const endMs = Date.now() + 20_000; Date.now() < endMs; await sleep(10)) {
    if (!readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("sleep")) continue;
    const environ = readChildEnviron(pid as number);
    if ("environment" in environ) return environ.environment;
  }
  throw new Error("the shell never executed the server");
}
