import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CommandAnswer, runForTest } from "./command-testing.ts";
import { doctorCommand } from "./doctor.ts";

let directory: string;
let environment: Record<string, string>;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "doctor-"));
  for (const name of ["data", "store"]) mkdirSync(join(directory, name));
  const server = join(directory, "vaultwarden");
  writeFileSync(server, "#!/bin/sh\necho vaultwarden 1.37.2\n");
  chmodSync(server, 0o755);
  environment = {
    PATH: process.env["PATH"] ?? "",
    STORE_DIR: join(directory, "store"),
    DATA_FOLDER: join(directory, "data"),
    VAULTWARDEN_BIN: server,
  };
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function doctor(changes: Record<string, string> = {}, ...words: string[]): Promise<CommandAnswer> {
  return runForTest(doctorCommand, { ...environment, ...changes }, ...words);
}

it("finds no problem where there is none, and has written nothing", async () => {
  const { code, stdout, stderr } = await doctor();
  expect(stdout).toContain("no problem, ");
  expect(stdout).toContain("ok       put: objects can be written");
  expect([code, stderr]).toEqual([0, ""]);
  expect(readdirSync(join(directory, "data"))).toEqual([]);
  const left = readdirSync(join(directory, "store"), { recursive: true, withFileTypes: true });
  expect(left.filter((entry) => entry.isFile())).toEqual([]);
});

it("says everything that is wrong with the configuration at once, and looks at what it can", async () => {
  const wrong = { ON_DIVERGENCE: "maybe", S3_BUCKET: "both", ENABLE_DB_WAL: "false" };
  const { code, stdout } = await doctor(wrong, "--json");
  expect(code).toBe(1);
  const report = JSON.parse(stdout) as {
    ok: boolean;
    problemCount: number;
    findings: { check: string; outcome: string; message: string; remedy: string | null }[];
  };
  const problems = report.findings.filter(({ outcome }) => outcome === "problem");
  expect(report).toMatchObject({ ok: false, problemCount: problems.length });
  for (const name of ["ON_DIVERGENCE", "S3_BUCKET", "ENABLE_DB_WAL"]) {
    expect(problems.some(({ message }) => message.includes(name))).toBe(true);
  }
  expect(problems.every(({ remedy }) => remedy !== null && remedy !== "")).toBe(true);
  expect(report.findings.find(({ check }) => check === "store")?.outcome).toBe("skipped");
  expect(report.findings.find(({ check }) => check === "SQLite")?.outcome).toBe("ok");
});

it("ends with 0 if there are only warnings, each with what to do", async () => {
  writeFileSync(join(directory, "vaultwarden"), "#!/bin/sh\necho vaultwarden 1.35.1\n");
  const { code, stdout } = await doctor();
  expect(code).toBe(0);
  expect(stdout).toMatch(/WARNING {2}Vaultwarden: .* is 1\.35\.1.*\n {11}next: update/);
});

it("finds credentials that are refused, and says no secret", async () => {
  const secret = "do-not-print-this";
  const server = await startS3Server();
  try {
    const { code, stdout, stderr } = await doctor({
      STORE_DIR: "",
      S3_BUCKET: server.bucket,
      S3_ENDPOINT: server.endpoint,
      S3_ACCESS_KEY_ID: server.credentials.accessKeyId,
      S3_SECRET_ACCESS_KEY: secret,
      STATUS_TOKEN: secret,
      BACKUP_PASSWORD: secret,
    });
    expect(code).toBe(1);
    expect(stdout).toMatch(/PROBLEM {2}list: .*\(FORBIDDEN\)\n {11}next: /);
    expect(stdout + stderr).not.toContain(secret);
  } finally {
    await server.stop();
  }
});
