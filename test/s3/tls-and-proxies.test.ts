import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { openObjectStore } from "@vaultwarden-stream/object-store";
import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

// Goal: the variables that Go programs honour (environment.md 1) hold for every request. Method: our S3 server behind TLS with an authority
// of its own, and a forward proxy that notes what went through it.

const openssl = "openssl";
const hasOpenssl = spawnSync(openssl, ["version"]).status === 0;
if (!hasOpenssl && process.env["CI"] === "true")
  throw new Error("no openssl to make a certificate with");

describe.skipIf(!hasOpenssl)("connections", () => {
  const directory = mkdtempSync(join(tmpdir(), "s3-tls-"));
  const certificatePath = join(directory, "certificate.pem");
  let s3: S3Server;
  let tls: Server;
  let proxy: Server;
  let proxied: string[];

  beforeAll(async () => {
    const keyPath = join(directory, "key.pem");
    execFileSync(
      openssl,
      [
        ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
        ...`-subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout ${keyPath} -out ${certificatePath}`.split(
          " ",
        ),
      ],
      { stdio: "ignore" },
    );
    s3 = await startS3Server();
    const pem = { key: readFileSync(keyPath), cert: readFileSync(certificatePath) };
    tls = createTlsServer(pem, (incoming, outgoing) =>
      forward(incoming, outgoing, `${s3.endpoint}${incoming.url}`),
    );
    proxy = createServer((incoming, outgoing) => {
      proxied.push(`${incoming.method} ${incoming.url}`);
      forward(incoming, outgoing, incoming.url ?? "");
    });
    proxy.on("connect", (incoming, socket) => {
      proxied.push(`CONNECT ${incoming.url}`);
      const [host, port] = (incoming.url ?? "").split(":");
      const target = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
        target.pipe(socket).pipe(target);
      });
      for (const end of [socket, target]) end.on("error", () => target.destroy());
    });
    for (const server of [tls, proxy]) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      server.unref();
    }
  });
  beforeEach(() => {
    proxied = [];
  });
  afterAll(async () => {
    for (const server of [tls, proxy]) server.closeAllConnections();
    await s3.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const portOf = (server: Server) => (server.address() as AddressInfo).port;
  const tlsEndpoint = () => `https://127.0.0.1:${portOf(tls)}`;
  const proxyUrl = () => `http://user:canary-password@127.0.0.1:${portOf(proxy)}`;
  const use = async (
    endpoint: string,
    environment: Record<string, string>,
    skipTlsVerify = false,
  ) => {
    const { bucket, region, credentials } = s3;
    const store = openObjectStore(
      { bucket, prefix: "p", endpoint, region, credentials, skipTlsVerify },
      environment,
    );
    await store.put("k", new Uint8Array(200_000));
    expect(await store.head("k")).toMatchObject({ size: 200_000 });
  };

  it("are refused if nobody vouches for the certificate", async () => {
    await expect(use(tlsEndpoint(), {})).rejects.toMatchObject({
      code: "UNREACHABLE",
      hint: expect.stringContaining("SSL_CERT_FILE"),
    });
  });

  it("trust SSL_CERT_FILE, SSL_CERT_DIR, or everybody if told so", async () => {
    await use(tlsEndpoint(), { SSL_CERT_FILE: certificatePath });
    await use(tlsEndpoint(), { SSL_CERT_DIR: directory });
    await use(tlsEndpoint(), {}, true);
  });

  it.each(["HTTPS_PROXY", "https_proxy", "Https_Proxy"])(
    "go through %s by CONNECT",
    async (name) => {
      await use(tlsEndpoint(), { [name]: proxyUrl(), SSL_CERT_FILE: certificatePath });
      expect(proxied).toEqual([`CONNECT 127.0.0.1:${portOf(tls)}`]);
    },
  );

  it("go through HTTP_PROXY, with the signature intact", async () => {
    await use(s3.endpoint, { HTTP_PROXY: proxyUrl() });
    expect(proxied[0]).toBe(`PUT ${s3.endpoint}/${s3.bucket}/p/k`);
  });

  it("take a proxy without a scheme for one of HTTP, and the other one's variable for none", async () => {
    await use(s3.endpoint, { HTTP_PROXY: `127.0.0.1:${portOf(proxy)}` });
    expect(proxied).toHaveLength(2);
    await use(s3.endpoint, { HTTPS_PROXY: proxyUrl() });
    expect(proxied).toHaveLength(2);
  });

  it.each(["NO_PROXY", "no_proxy"])("go past the proxy for hosts in %s", async (name) => {
    await use(s3.endpoint, { HTTP_PROXY: proxyUrl(), [name]: "example.org,127.0.0.1" });
    expect(proxied).toEqual([]);
  });

  it("through a proxy that is away fail without its password", async () => {
    const environment = { HTTPS_PROXY: "http://user:canary-password@127.0.0.1:1" };
    const error = await use(tlsEndpoint(), environment).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "UNREACHABLE",
      hint: expect.stringContaining("HTTPS_PROXY"),
    });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain("canary-password");
  });
});

/** Sends the request on as it is, so that its signature holds. */
function forward(incoming: IncomingMessage, outgoing: ServerResponse, url: string): void {
  const { method, headers } = incoming;
  const onward = request(url, { method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  onward.on("error", () => outgoing.destroy());
  incoming.pipe(onward);
}
