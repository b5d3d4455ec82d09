import { once } from "node:events";
import {
  Agent,
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleepMs } from "node:timers/promises";
import { nowMs } from "./clock.ts";
import { readS3Request, type S3Request } from "./s3-request.ts";

/** A request that is over. Times are those of `nowMs`. */
export interface ProxiedRequest extends S3Request {
  /** 0 if either side went away before the whole answer was through. */
  readonly status: number;
  /** Of the bodies alone. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Its first line came. */
  readonly startedAtMs: number;
  /** Its last byte came. 0 if it never did. */
  readonly receivedAtMs: number;
  /** Its answer began to go back, the latency included. 0 if there was none. */
  readonly answeredAtMs: number;
}

export interface S3ProxyOptions {
  /** The store, as `http://host:port`. */
  readonly target: string;
  /** How much later than the store answers each answer goes back: the time that a packet needs there and back. */
  readonly latencyMs: number;
  readonly onBegin: () => void;
  readonly onEnd: (request: ProxiedRequest) => void;
}

export interface S3Proxy {
  readonly endpoint: string;
  close(): Promise<void>;
}

/** Longer than between two requests of a stream, shorter than any server keeps a connection that is not used. */
const idleConnectionMs = 5_000;

/**
 * Stands before an S3 server on this machine, counts what is asked of it and makes it look farther away. Bodies stream both ways. The
 * `Host` header passes as it came, which is why signatures hold.
 */
export async function startS3Proxy(options: S3ProxyOptions): Promise<S3Proxy> {
  const agent = new Agent({ keepAlive: true, timeout: idleConnectionMs });
  // A proxy that hangs up first would be one more failure to measure.
  const limits = { requestTimeout: 0, keepAliveTimeout: 0, noDelay: true };
  const server = createServer(limits, (incoming, answer) => {
    const startedAtMs = nowMs();
    options.onBegin();
    void relay(incoming, answer, options, agent).then((relayed) => {
      const what = readS3Request(incoming.method ?? "", incoming.url ?? "/");
      options.onEnd({ ...what, startedAtMs, ...relayed });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await once(server, "close");
    },
  };
}

type Relayed = Omit<ProxiedRequest, keyof S3Request | "startedAtMs">;

/** Never rejects: whoever asked sees a failure as a connection that is cut, and so does the count. */
async function relay(
  incoming: IncomingMessage,
  answer: ServerResponse,
  { target, latencyMs }: S3ProxyOptions,
  agent: Agent,
): Promise<Relayed> {
  const relayed = { status: 0, bytesUp: 0, bytesDown: 0, receivedAtMs: 0, answeredAtMs: 0 };
  incoming.on("data", (chunk: Buffer) => {
    relayed.bytesUp += chunk.length;
  });
  incoming.on("end", () => {
    relayed.receivedAtMs = nowMs();
  });
  const { hostname, port } = new URL(target);
  const outgoing = requestHttp({
    hostname,
    port,
    agent,
    method: incoming.method,
    path: incoming.url,
    headers: withoutHopHeaders(incoming.rawHeaders),
  });
  try {
    // A store may refuse before it has read the body, so only an answer that does not come is a failure. It fails too if this does.
    pipeline(incoming, outgoing).catch(() => {});
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    response.on("data", (chunk: Buffer) => {
      relayed.bytesDown += chunk.length;
    });
    response.pause();
    if (latencyMs > 0) await sleepMs(latencyMs);
    answer.writeHead(
      response.statusCode ?? 0,
      response.statusMessage ?? "",
      withoutHopHeaders(response.rawHeaders),
    );
    relayed.answeredAtMs = nowMs();
    await pipeline(response, answer);
    relayed.status = response.statusCode ?? 0;
  } catch {
    outgoing.destroy();
    answer.destroy();
  }
  return relayed;
}

/** What is said of one connection does not hold for the next. `Expect` was answered by this server and is in no signature. */
const hopHeaders = new Set(["connection", "keep-alive", "expect"]);

function withoutHopHeaders(rawHeaders: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const [name, value] = rawHeaders.slice(index, index + 2) as [string, string];
    if (!hopHeaders.has(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}
