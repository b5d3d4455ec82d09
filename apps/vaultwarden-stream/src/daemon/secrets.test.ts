import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import {
  type RunningChild,
  startS3Server,
  startTypeScriptChild,
} from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readStatusFile } from "./status-file.ts";
import { requireAnswer } from "./vault-store.ts";

/**
 * Canaries: credentials that a real daemon works with against a store that refuses it, looked for in everything that it writes and
 * passes on.
 */
const canaries = {
  accessKeyId: "CANARYKEYIDCANARYKEYID",
  secretAccessKey: "canary-secret-access-key",
  sessionToken: "canary-session-token",
};
const main = fileURLToPath(new URL("../main.ts", import.meta.url));

let directory: string;
const children: RunningChild[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "secrets-"));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.process.kill("SIGKILL");
    const vault = readStatusFile(join(directory, "data", "db.sqlite3"))?.server;
    if (vault) process.kill(vault.pid, "SIGKILL");
    await child.exited;
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
});

it("keeps every secret from the vault, the log and the files, also while the store refuses it", async () => {
  const server = await startS3Server({ credentials: canaries });
  try {
    const seen = join(directory, "seen");
    const daemon = startDaemon(server.endpoint, {
      S3_BUCKET: server.bucket,
      S3_REGION: server.region,
      VAULTWARDEN_BIN: script(
        "vaultwarden",
        `env > "${seen}.tmp"; mv "${seen}.tmp" "${seen}"; exec sleep 60`,
      ),
      REPLICATION_SHUTDOWN_TIMEOUT: "1",
    });
    await until(daemon, "the vault runs", () => existsSync(seen));
    server.setFaults(() => ({ kind: "answer", status: 403 }));
    const database = new Database(join(directory, "data", "db.sqlite3"));
    database.exec("CREATE TABLE t (x)");
    database.close();
    await until(daemon, "the store is refused", () => daemon.stderr().includes("the store fails"));
    daemon.process.kill("SIGTERM");
    const { code, stdout, stderr } = await daemon.exited;
    expect(code).toBe(1);
    expect(server.requests.some(({ status }) => status === 403)).toBe(true);
    expectNoCanary({ stdout, stderr, environment: readFileSync(seen, "utf8"), ...readAll() });
    expect(readAll()).toHaveProperty([join(".db.sqlite3-stream", "status.json")]);
  } finally {
    await server.stop();
  }
});

it("shows nothing of what a store repeats in its refusal", async () => {
  const server = createServer((request, response) => {
    response.writeHead(403, { "content-type": "application/xml" });
    response.end(refusalOf(request));
  });
  const endpoint = await listen(server);
  try {
    const daemon = startDaemon(endpoint, { S3_BUCKET: "vault", S3_REGION: "us-east-1" });
    const { code, stdout, stderr } = await daemon.exited;
    expect(stderr).toContain("next:");
    expect(code).toBe(6);
    const store = {
      bucket: "vault",
      prefix: "vaultwarden",
      endpoint,
      credentials: canaries,
    };
    const error: unknown = await requireAnswer(store, AbortSignal.timeout(20_000)).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: "FORBIDDEN" });
    expectNoCanary({ stdout, stderr, error: inspect(error, { depth: 10, showHidden: true }) });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

function startDaemon(endpoint: string, env: Readonly<Record<string, string>>): RunningChild {
  mkdirSync(join(directory, "data"));
  const secretFile = join(directory, "token");
  writeFileSync(secretFile, `${canaries.sessionToken}\n`);
  const child = startTypeScriptChild(main, {
    arguments: ["run"],
    cwd: directory,
    onlyEnv: {
      PATH: process.env["PATH"] ?? "",
      DATA_FOLDER: join(directory, "data"),
      VAULTWARDEN_BIN: "/bin/true",
      STREAM_LOG_LEVEL: "debug",
      S3_ENDPOINT: endpoint,
      S3_ACCESS_KEY_ID: canaries.accessKeyId,
      S3_SECRET_ACCESS_KEY: canaries.secretAccessKey,
      S3_SESSION_TOKEN_FILE: secretFile,
      ...env,
    },
  });
  children.push(child);
  return child;
}

/** As AWS words it: what was signed comes back, the session token in it. */
function refusalOf({ headers }: IncomingMessage): string {
  const signed = Object.entries(headers).map(([name, value]) => `${name}:${String(value)}`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the signature you provided.</Message><AWSAccessKeyId>${canaries.accessKeyId}</AWSAccessKeyId><StringToSign>${signed.join("\n")}</StringToSign><CanonicalRequest>${signed.join("\n")}</CanonicalRequest><RequestId>1</RequestId></Error>`;
}

function expectNoCanary(texts: Readonly<Record<string, string>>): void {
  for (const [where, text] of Object.entries(texts)) {
    for (const canary of [...Object.values(canaries), "AWS4-HMAC-SHA256"]) {
      expect(text.includes(canary), `${canary} in ${where}:\n${text}`).toBe(false);
    }
  }
}

/** Everything in the data folder, bytes as characters. */
function readAll(): Record<string, string> {
  const root = join(directory, "data");
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    paths
      .filter((path) => statSync(join(root, path)).isFile())
      .map((path) => [path, readFileSync(join(root, path), "latin1")]),
  );
}

function script(name: string, body: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function until(daemon: RunningChild, what: string, isSo: () => boolean): Promise<void> {
  for (const endMs = Date.now() + 20_000; Date.now() < endMs; await sleep(20)) {
    if (isSo()) return;
    if (daemon.process.exitCode !== null) break;
  }
  throw new Error(`waited in vain until ${what}; the daemon said:\n${daemon.stderr()}`);
}
