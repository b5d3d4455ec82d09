import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  diagnoseDataFolder,
  diagnoseServer,
  diagnoseSqlite,
  judgeServerVersion,
} from "./diagnose-machine.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "doctor-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function script(name: string, body: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

it("finds nothing wrong with a folder that is writable and local, and leaves nothing in it", () => {
  const findings = diagnoseDataFolder(join(directory, "db.sqlite3"));
  expect(findings.map(({ check }) => check)).toEqual(["data folder", "file system", "room"]);
  expect(findings.slice(0, 2).map(({ outcome }) => outcome)).toEqual(["ok", "ok"]);
  expect(readdirSync(directory)).toEqual([]);
});

it("takes a folder that the first start will make for one, and does not make it", () => {
  const folder = join(directory, "not", "yet");
  expect(diagnoseDataFolder(join(folder, "db.sqlite3"))[0]).toMatchObject({ outcome: "ok" });
  expect(existsSync(join(directory, "not"))).toBe(false);
});

it("finds a folder that cannot be written to", () => {
  writeFileSync(join(directory, "file"), "");
  expect(diagnoseDataFolder(join(directory, "file", "db.sqlite3"))[0]).toMatchObject({
    check: "data folder",
    outcome: "problem",
    remedy: expect.stringContaining("own it"),
  });
});

it("says which SQLite is ours", () => {
  expect(diagnoseSqlite()).toMatchObject({ outcome: "ok", message: /^ours is 3\.\d+\.\d+$/ });
});

it.each([
  ["vaultwarden 1.37.2", "ok"],
  ["Vaultwarden 1.36.0-abcdef", "ok"],
  ["vaultwarden 2.0.0", "ok"],
  ["vaultwarden 1.35.8", "warning"],
  ["vaultwarden 1.9.99", "warning"],
  ["vaultwarden 0.99.0", "warning"],
  ["(Version info from Git not present)", "warning"],
  ["", "warning"],
])("%j is %s", (output, outcome) => {
  expect(judgeServerVersion("vaultwarden", output)).toMatchObject({ outcome });
});

it("asks the server, with what the server gets and nothing of ours", async () => {
  const seen = join(directory, "seen");
  const bin = script("server", `env > "${seen}"; echo "vaultwarden 1.37.2 $*"`);
  const environment = { PATH: process.env["PATH"], S3_SECRET_ACCESS_KEY: "hidden" };
  expect(await diagnoseServer(bin, environment, "")).toMatchObject({
    outcome: "ok",
    message: `${bin} is 1.37.2`,
  });
  expect(existsSync(seen)).toBe(true);
  expect((await import("node:fs")).readFileSync(seen, "utf8")).not.toContain("hidden");
});

it("does not run the image's start script with its hooks, but the server beside it", async () => {
  script("vaultwarden", "echo vaultwarden 1.37.2");
  const start = script("start.sh", `touch "${directory}/hooks-ran"`);
  expect(await diagnoseServer(start, process.env, "")).toMatchObject({ outcome: "ok" });
  expect(existsSync(join(directory, "hooks-ran"))).toBe(false);
});

it("finds that there is no server, and one that does not say its version", async () => {
  expect(await diagnoseServer(undefined, { PATH: directory }, "")).toMatchObject({
    outcome: "problem",
    remedy: expect.stringContaining("VAULTWARDEN_BIN"),
  });
  expect(await diagnoseServer(script("broken", "exit 1"), process.env, "")).toMatchObject({
    outcome: "warning",
  });
});
