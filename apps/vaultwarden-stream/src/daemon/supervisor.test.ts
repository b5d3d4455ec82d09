import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeExit, exitCodeOf, type ServerProcess, startServer } from "./supervisor.ts";

function run(script: string): Promise<ServerProcess> {
  return startServer({
    command: process.execPath,
    arguments: ["-e", script],
    environment: { PATH: process.env["PATH"] ?? "" },
  });
}

it("tells the code of a server that ended by itself", async () => {
  const server = await run("process.exit(12)");
  const exit = await server.exited;
  expect(exit).toEqual({ code: 12, signal: null, requested: false, killed: false });
  expect(exitCodeOf(exit)).toBe(12);
  expect(describeExit(exit)).toContain("configuration is invalid");
});

it("tells the signal of a server that was killed", async () => {
  const server = await run("process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1e3)");
  const exit = await server.exited;
  expect(exit).toMatchObject({ code: null, signal: "SIGKILL", requested: false });
  expect(exitCodeOf(exit)).toBe(137);
  expect(describeExit(exit)).toBe("it was ended by SIGKILL");
});

it("ends a server with TERM, once, and waits for the same end when asked again", async () => {
  const server = await run("setInterval(() => {}, 1e3)");
  const [first, second] = await Promise.all([server.stop(30_000), server.stop(1)]);
  expect(first).toEqual({ code: null, signal: "SIGTERM", requested: true, killed: false });
  expect(second).toBe(first);
});

it("kills a server that outlives its grace", async () => {
  const directory = mkdtempSync(join(tmpdir(), "supervisor-"));
  const ready = join(directory, "ready");
  const server = await run(
    `process.on("SIGTERM", () => {}); require("fs").writeFileSync(${JSON.stringify(ready)}, ""); setInterval(() => {}, 1e3)`,
  );
  // A TERM before its handler is there would end it.
  while (!existsSync(ready)) await new Promise(setImmediate);
  const exit = await server.stop(50);
  rmSync(directory, { recursive: true });
  expect(exit).toEqual({ code: null, signal: "SIGKILL", requested: true, killed: true });
});

it("rejects if the executable cannot be started", async () => {
  await expect(
    startServer({ command: "/nowhere/vaultwarden", arguments: [], environment: {} }),
  ).rejects.toThrow("ENOENT");
});
