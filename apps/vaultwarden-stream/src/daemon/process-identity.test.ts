import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { identifyProcess, isRunning, processesWithFileOpen } from "./process-identity.ts";

it("knows a running process, and not a later one with its number", () => {
  const self = identifyProcess(process.pid);
  expect(isRunning(self)).toBe(true);
  expect(isRunning({ ...self, startedTicks: "1" })).toBe(false);
});

it("knows that a process is gone", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e3)"], { stdio: "ignore" });
  const identity = identifyProcess(child.pid ?? -1);
  expect(isRunning(identity)).toBe(true);
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
  expect(isRunning(identity)).toBe(false);
});

it("finds another process that has a file open, and leaves ourselves out", async () => {
  const directory = mkdtempSync(join(tmpdir(), "open-"));
  const path = join(directory, "file");
  const ours = openSync(path, "w");
  try {
    expect(processesWithFileOpen(path)).toEqual([]);
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e3)"], {
      stdio: ["ignore", "ignore", "ignore", ours],
    });
    expect(processesWithFileOpen(path)).toEqual([child.pid]);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
  } finally {
    closeSync(ours);
    rmSync(directory, { recursive: true, force: true });
  }
});
