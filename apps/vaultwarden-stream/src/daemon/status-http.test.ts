import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeStatus } from "../health/status-report.ts";
import { parseMetrics } from "./parse-metrics-testing.ts";
import { identifyProcess } from "./process-identity.ts";
import type { DaemonStatus } from "./status-file.ts";
import { createStatusServer, type StatusServer } from "./status-http.ts";
import { exampleFiles, exampleStatus } from "./status-testing.ts";
import { StreamCounters } from "./stream-counters.ts";

const nowMs = Date.parse("2026-11-24T22:00:10.000Z");

const vault = createServer((_, response) => response.writeHead(aliveCode).end());
let aliveCode: number;
let status: DaemonStatus;
let warnings: string[];
let counters: StreamCounters;
const open: StatusServer[] = [];

beforeEach(async () => {
  aliveCode = 200;
  warnings = [];
  counters = new StreamCounters();
  await new Promise<void>((resolve) => vault.listen(0, "127.0.0.1", resolve));
  status = {
    ...exampleStatus,
    daemon: identifyProcess(process.pid),
    aliveUrl: `http://127.0.0.1:${(vault.address() as AddressInfo).port}/alive`,
    files: exampleFiles,
  };
});
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
  vault.closeAllConnections();
  await new Promise((resolve) => vault.close(resolve));
});

async function serve(token?: string, port = 0): Promise<StatusServer> {
  const server = await createStatusServer({
    listen: { host: "127.0.0.1", port },
    token,
    read: () => status,
    counters,
    version: "1.2.3",
    log: {
      error: () => {},
      warn: (message) => warnings.push(message),
      info: () => {},
      debug: () => {},
    },
    now: () => nowMs,
  });
  open.push(server);
  return server;
}

async function ask(
  server: StatusServer,
  path: string,
  init: RequestInit = {},
): Promise<{ code: number; body: string; headers: Headers }> {
  const response = await fetch(`${server.url}${path}`, init);
  return { code: response.status, body: await response.text(), headers: response.headers };
}

it("serves the status as the command prints it", async () => {
  const { code, body, headers } = await ask(await serve(), "/status");
  expect(code).toBe(200);
  expect(headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(JSON.parse(body)).toEqual(JSON.parse(JSON.stringify(describeStatus(status, true, nowMs))));
});

it("says whether it is healthy, and why not", async () => {
  const server = await serve();
  expect(await ask(server, "/healthz")).toMatchObject({ code: 200, body: "OK\n" });
  aliveCode = 503;
  expect(await ask(server, "/healthz")).toMatchObject({
    code: 503,
    body: `UNHEALTHY: the vault does not answer: ${status.aliveUrl}: it answers 503\n`,
  });
  aliveCode = 200;
  status = { ...status, waitingSince: "2026-11-24T21:50:00.000Z" };
  expect(await ask(server, "/healthz")).toMatchObject({ code: 503 });
});

it("has three paths, and reads only", async () => {
  const server = await serve();
  expect((await ask(server, "/")).code).toBe(404);
  expect((await ask(server, "/status/")).code).toBe(404);
  expect((await ask(server, "/status?x=1")).code).toBe(200);
  expect((await ask(server, "/healthz", { method: "HEAD" })).code).toBe(200);
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    const { code, headers } = await ask(server, "/status", { method });
    expect([method, code, headers.get("allow")]).toEqual([method, 405, "GET, HEAD"]);
  }
});

describe("with a token", () => {
  const token = "a-Token.with~signs";

  it.each(["/status", "/healthz", "/metrics", "/nothing"])("wants it for %s", async (path) => {
    const server = await serve(token);
    for (const authorization of ["", "Bearer", "Bearer x", `Basic ${token}`, `Bearer ${token}x`]) {
      const { code, body } = await ask(server, path, { headers: { authorization } });
      expect([authorization, code]).toEqual([authorization, 401]);
      expect(body).not.toContain("timeline");
    }
    const { code } = await ask(server, path, { headers: { authorization: `Bearer ${token}` } });
    expect(code).toBe(path === "/nothing" ? 404 : 200);
  });

  it("says it to nobody", async () => {
    const server = await serve(token);
    for (const path of ["/status", "/healthz", "/metrics"]) {
      const headers = { authorization: `Bearer ${token}` };
      expect((await ask(server, path, { headers })).body).not.toContain(token);
    }
  });
});

describe("/metrics", () => {
  it("has what the status has, in Prometheus' form", async () => {
    const { code, body, headers } = await ask(await serve(), "/metrics");
    expect(code).toBe(200);
    expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const samples = parseMetrics(body);
    expect(Object.fromEntries(samples)).toMatchObject({
      vaultwarden_stream_up: 1,
      vaultwarden_stream_healthy: 1,
      vaultwarden_stream_fenced: 0,
      vaultwarden_stream_uptime_seconds: 3_610,
      vaultwarden_stream_epoch: 3,
      vaultwarden_stream_database_lag_seconds: 7.5,
      vaultwarden_stream_database_lag_bytes: 4_096,
      vaultwarden_stream_database_captured_txid: 9,
      vaultwarden_stream_database_stored_txid: 7,
      vaultwarden_stream_spool_files: 2,
      vaultwarden_stream_files_count: 3,
      vaultwarden_stream_files_lag_seconds: 0,
      vaultwarden_stream_files_last_push_timestamp_seconds:
        Date.parse("2026-11-24T21:59:00.000Z") / 1_000,
    });
    expect(body).toContain('role="primary",timeline="00000003-aaaaaaaa",store="/store"');
  });

  it("leaves out what is not known", async () => {
    status = { ...status, epoch: null, storedTxid: null, files: null, storedAsOf: null };
    const samples = parseMetrics((await ask(await serve(), "/metrics")).body);
    for (const name of ["epoch", "database_stored_txid", "files_count", "files_lag_seconds"]) {
      expect(samples.has(`vaultwarden_stream_${name}`)).toBe(false);
    }
  });

  it("takes any name of a store", async () => {
    status = { ...status, store: '/with "quotes"\\and\nlines' };
    parseMetrics((await ask(await serve(), "/metrics")).body);
  });
});

it("goes on without a port that is taken, and says so", async () => {
  const first = await serve();
  const port = Number(new URL(first.url ?? "").port);
  const second = await serve(undefined, port);
  expect(second.url).toBeUndefined();
  expect(warnings).toEqual([expect.stringContaining("EADDRINUSE")]);
  await second.close();
  expect((await ask(first, "/healthz")).code).toBe(200);
});

it("lets go of the port at once, whoever is connected", async () => {
  const server = await serve();
  const { hostname, port } = new URL(server.url ?? "");
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {}); // it is cut
  await new Promise<void>((resolve) => socket.write("GET /status HTTP/1.1\r\n", () => resolve()));
  await ask(server, "/status"); // by now the half request of the other one is there
  await server.close();
  const again = await serve(undefined, Number(new URL(server.url ?? "").port));
  expect(again.url).toBe(server.url);
});
