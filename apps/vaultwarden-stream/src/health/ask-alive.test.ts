import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { readServerSettings } from "../config/server-settings.ts";
import { askAlive } from "./ask-alive.ts";
import { testCertificate } from "./certificate-testing.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(host: string, answer: RequestListener, isTls = false): Promise<number> {
  const server = isTls ? createTlsServer(testCertificate, answer) : createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

it("believes a 200 and nothing else", async () => {
  const port = await listen("127.0.0.1", ({ url }, response) => {
    response.statusCode = url === "/alive" ? 200 : 503;
    response.end();
  });
  const url = `http://127.0.0.1:${port}`;
  expect(await askAlive(`${url}/alive`)).toEqual({ ok: true });
  expect(await askAlive(`${url}/x`)).toEqual({ ok: false, why: `${url}/x: it answers 503` });
});

it("says what kept it from an answer", async () => {
  const port = await listen("127.0.0.1", (request) => request.socket.destroy());
  expect(await askAlive(`http://127.0.0.1:${port}/alive`)).toMatchObject({
    ok: false,
    why: expect.stringContaining("ECONNRESET"),
  });
  expect(await askAlive("http://127.0.0.1:99999/alive")).toMatchObject({
    why: expect.stringContaining("it is no URL"),
  });
});

it("ends when it is aborted", async () => {
  const port = await listen("127.0.0.1", () => {});
  const stop = new AbortController();
  const asked = askAlive(`http://127.0.0.1:${port}/alive`, stop.signal);
  stop.abort();
  expect(await asked).toMatchObject({ ok: false });
});

// Weakness 22: base path, TLS and address are those that the vault itself has.
it.each([
  { DOMAIN: undefined, ROCKET_ADDRESS: undefined, host: "127.0.0.1", path: "/alive" },
  { DOMAIN: "https://v.example.org", ROCKET_ADDRESS: "0.0.0.0", host: "127.0.0.1", path: "/alive" },
  {
    DOMAIN: "https://v.example.org/vault/",
    ROCKET_ADDRESS: "::",
    host: "127.0.0.1",
    path: "/vault/alive",
  },
  {
    DOMAIN: "https://v.example.org/a/b",
    ROCKET_ADDRESS: "127.0.0.2",
    host: "127.0.0.2",
    path: "/a/b/alive",
  },
  {
    DOMAIN: "https://v.example.org/vault",
    ROCKET_ADDRESS: "127.0.0.1",
    host: "127.0.0.1",
    path: "/vault/alive",
    tls: true,
  },
])(
  "finds the vault with $DOMAIN, $ROCKET_ADDRESS, TLS $tls",
  async ({ host, path, tls, ...env }) => {
    const isTls = tls === true;
    const port = await listen(
      host,
      ({ url }, response) => {
        response.statusCode = url === path ? 200 : 404;
        response.end();
      },
      isTls,
    );
    const { settings } = readServerSettings(
      { ...env, ROCKET_PORT: String(port), ...(isTls ? { ROCKET_TLS: "{certs,key}" } : {}) },
      "/nowhere",
      () => {
        throw Object.assign(new Error("no such file"), { code: "ENOENT" });
      },
    );
    expect(await askAlive(settings?.aliveUrl ?? "")).toEqual({ ok: true });
  },
);
