import { createServer } from "node:net";
import { startS3Server } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import { Site, s3Settings, untilStored } from "./daemon-harness.ts";

/** As small as it gets: unhealthy two seconds after a commit that the store does not take. */
const impatient = { PRIMARY_SYNC_INTERVAL: "1", HEALTHCHECK_MAX_SYNC_AGE: "2" };

/** Asks as a container engine does. @returns what it said on stderr. */
async function untilHealthcheck(site: Site, wanted: number, reason = ""): Promise<string> {
  const said: string[] = [];
  for (const endMs = Date.now() + 60_000; Date.now() < endMs; ) {
    const { code, stdout, stderr } = await site.command("a", "healthcheck");
    expect(stdout).toBe(code === 0 ? "OK\n" : "");
    if (code === wanted && stderr.includes(reason)) return stderr;
    said.push(stderr);
  }
  throw new Error(`healthcheck never said ${wanted} ${reason}, but:\n${said.join("")}`);
}

it("is healthy while the vault runs, under its base path too, and ill once the daemon was killed", async () => {
  await using site = new Site();
  const daemon = await site.run("a", { DOMAIN: "https://vault.example.org/deep/path/" });
  await daemon.ready();
  await untilHealthcheck(site, 0);
  daemon.process.kill("SIGKILL");
  await daemon.finished;
  expect(await untilHealthcheck(site, 1)).toMatch(/^UNHEALTHY: the daemon does not run: process/);
});

it("is ill once a commit has waited too long for a store that is cut off, and well again when that is back (weakness 20 and H5)", async () => {
  const server = await startS3Server();
  await using site = new Site(s3Settings(server));
  try {
    const daemon = await site.run("a", impatient);
    const client = await daemon.register();
    await untilStored(site, "a");
    await untilHealthcheck(site, 0);
    server.setFaults([{ match: {}, fault: { kind: "drop", when: "before" } }]);
    await client.createItem({ name: "waits" });
    await untilHealthcheck(site, 1, "the oldest commit has waited for the store");
    // Nobody stops the vault for it.
    await client.createItem({ name: "waits too" });
    server.setFaults([]);
    await untilHealthcheck(site, 0);
  } finally {
    await server.stop();
  }
});

it("serves the same over HTTP, and runs without that if the port is taken", async () => {
  await using site = new Site();
  const daemon = await site.run("a", { STATUS_TOKEN: "sesame" });
  await daemon.ready();
  const url = /status over HTTP: (http:\/\/[^\s/]+)/.exec(daemon.stderr)?.[1] ?? "";
  const get = (path: string, token: string): Promise<Response> =>
    fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}` } });
  expect((await get("/healthz", "wrong")).status).toBe(401);
  expect(await (await get("/healthz", "sesame")).text()).toBe("OK\n");
  expect(await (await get("/metrics", "sesame")).text()).toContain("vaultwarden_stream_up 1\n");
  expect(await (await get("/status", "sesame")).json()).toMatchObject({ running: true });

  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  try {
    const other = await site.run("b", {
      STORE_DIR: site.path("other"),
      // The one beside it is no typing error.
      ALLOW_EMPTY_START: site.path("other"),
      STATUS_LISTEN: `127.0.0.1:${Object(taken.address()).port}`,
    });
    await other.logged("there is no status over HTTP");
    await other.ready();
  } finally {
    taken.close();
  }
});
