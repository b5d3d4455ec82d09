import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { toJson } from "wal-replicator/command-line";
import { checkHealth } from "../health/check-health.ts";
import { describeStatus } from "../health/status-report.ts";
import type { Logger } from "../logger.ts";
import type { DaemonStatus } from "./status-file.ts";
import { formatMetrics } from "./status-metrics.ts";
import type { CounterReadings } from "./stream-counters.ts";

export interface StatusServerOptions {
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Whoever asks has to bring it. Undefined: nobody has to, which is for loopback only. */
  readonly token: string | undefined;
  readonly read: () => DaemonStatus;
  readonly counters: CounterReadings;
  /** Of vaultwarden-stream. */
  readonly version: string;
  readonly log: Logger;
  readonly now?: () => number;
}

export interface StatusServer {
  /** `http://127.0.0.1:9464`; undefined: it could not listen, and the log says why. */
  readonly url: string | undefined;
  /** Lets go of the port. Answers that are under way are cut. Idempotent. */
  close(): Promise<void>;
}

interface Answer {
  readonly code: number;
  readonly type: "application/json" | "text/plain";
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * The status over HTTP: `/status` as JSON, `/healthz` for load balancers, `/metrics` for Prometheus. Reads only, and says no secret. It keeps
 * no process alive, and it is not worth a vault: a port that is taken is warned of, and everything else goes on.
 */
export async function createStatusServer(options: StatusServerOptions): Promise<StatusServer> {
  const { listen, log } = options;
  const server = createServer((request, response) => void respond(options, request, response));
  server.headersTimeout = requestTimeoutMs;
  server.requestTimeout = requestTimeoutMs;
  server.unref();
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(listen.port, listen.host, resolve);
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    log.warn(
      `there is no status over HTTP: ${listen.host} port ${listen.port} cannot be listened on (${code ?? message}). Free it, or set STATUS_LISTEN to another one; the vault goes on without it`,
    );
    return { url: undefined, close: async () => {} };
  }
  // A listening socket has errors too, out of descriptors for one. They are no reason to end.
  server.on("error", (error) => log.warn(`the status over HTTP is in trouble: ${error.message}`));
  return { url: urlOf(server.address() as AddressInfo), close };
}

const requestTimeoutMs = 10_000;

async function respond(
  options: StatusServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let answer: Answer;
  try {
    answer = await answerTo(options, request);
  } catch (error) {
    options.log.warn(`a question about the status failed: ${(error as Error).message}`);
    answer = text(500, "the status cannot be read; the log says why");
  }
  const { code, type, text: body, headers } = answer;
  response.writeHead(code, {
    "content-type": `${type}; charset=utf-8`,
    "cache-control": "no-store",
    ...headers,
  });
  response.end(body);
}

async function answerTo(options: StatusServerOptions, request: IncomingMessage): Promise<Answer> {
  const { token, read, counters, version, now = Date.now } = options;
  if (token !== undefined && !isAuthorized(request.headers.authorization, token)) {
    return { ...text(401, "a token is needed"), headers: { "www-authenticate": "Bearer" } };
  }
  const path = request.url?.split("?")[0] ?? "";
  if (!paths.includes(path)) return text(404, `there are ${paths.join(", ")}`);
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { ...text(405, "only GET"), headers: { allow: "GET, HEAD" } };
  }
  const status = read();
  const report = describeStatus(status, true, now());
  if (path === "/status") {
    return { code: 200, type: "application/json", text: `${toJson(report)}\n` };
  }
  const health = await checkHealth(status, now());
  if (path === "/metrics") {
    return {
      ...text(200, formatMetrics({ report, health, counters, version }, now())),
      headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    };
  }
  return health.healthy ? text(200, "OK") : text(503, `UNHEALTHY: ${health.reason}`);
}

const paths: readonly string[] = ["/status", "/healthz", "/metrics"];

function text(code: number, message: string): Answer {
  return { code, type: "text/plain", text: `${message.trimEnd()}\n` };
}

/** Compares digests, which are of one length, in a time that says nothing about the token. */
function isAuthorized(given: string | undefined, token: string): boolean {
  const [, brought = ""] = /^Bearer +(\S+)$/i.exec(given ?? "") ?? [];
  const digest = (value: string): Buffer => createHash("sha256").update(value).digest();
  return timingSafeEqual(digest(brought), digest(token));
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
