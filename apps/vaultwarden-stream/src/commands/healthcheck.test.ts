import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { identifyProcess } from "../daemon/process-identity.ts";
import { StatusFile } from "../daemon/status-file.ts";
import { type CommandAnswer, runForTest } from "./command-testing.ts";
import { healthcheckCommand } from "./healthcheck.ts";

/** The command as a container engine runs it, beside a daemon (this process says that it is one) and a vault. */
const vault = createServer(({ url }, response) =>
  response.writeHead(url === "/vault/alive" ? 200 : 404).end(),
);
let directory: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "health-"));
  chmodSync(directory, 0o755);
  await new Promise<void>((resolve) => vault.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  vault.closeAllConnections();
  await new Promise((resolve) => vault.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

function daemonSays(changes: Parameters<StatusFile["update"]>[0] = {}): void {
  const url = `http://127.0.0.1:${(vault.address() as AddressInfo).port}`;
  const now = new Date().toISOString();
  new StatusFile(
    {
      daemon: identifyProcess(process.pid),
      url,
      aliveUrl: `${url}/vault/alive`,
      syncAgeMsMax: 60_000,
      database: join(directory, "db.sqlite3"),
      store: "/store",
    },
    (error) => {
      throw error;
    },
  ).update({
    server: identifyProcess(process.pid),
    streamingSince: now,
    storedAsOf: now,
    ...changes,
  });
}

/** Nothing of the store in the environment: whoever asks for the health needs no credentials. */
function healthcheck(...words: readonly string[]): Promise<CommandAnswer> {
  return runForTest(healthcheckCommand, { DATA_FOLDER: directory }, ...words);
}

it("says OK and nothing else, with 0", async () => {
  daemonSays();
  expect(await healthcheck()).toEqual({ code: 0, stdout: "OK\n", stderr: "" });
});

it("says the reason on stderr, with 1", async () => {
  const waitingSince = new Date(Date.now() - 61_000).toISOString();
  daemonSays({ waitingSince, failure: { code: "UNREACHABLE", message: "no route" } });
  const { code, stdout, stderr } = await healthcheck();
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(
    /^UNHEALTHY: the oldest commit has waited for the store for 1 min \d+ s .*no route \(UNREACHABLE\)\n$/,
  );
});

it("says it as JSON on stdout, with the same codes", async () => {
  daemonSays();
  const well = await healthcheck("--json");
  expect([well.code, JSON.parse(well.stdout)]).toEqual([
    0,
    { healthy: true, phase: "running", remarks: [] },
  ]);
  daemonSays({ daemon: { pid: process.pid, startedTicks: "1" } });
  const ill = await healthcheck("--json");
  expect([ill.code, JSON.parse(ill.stdout)]).toEqual([
    1,
    { healthy: false, reason: expect.stringContaining("is gone, its last word is of") },
  ]);
});

it("knows no other codes: not where nothing has run, nor where the settings are wrong", async () => {
  expect(await healthcheck()).toEqual({
    code: 1,
    stdout: "",
    stderr: "UNHEALTHY: no daemon has run here\n",
  });
  const wrong = { DATABASE_URL: "postgresql://u:secret@host/db" };
  const { code, stderr } = await runForTest(healthcheckCommand, wrong);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^UNHEALTHY: .*DATABASE_URL/);
  expect(stderr).not.toContain("secret");
});
