/** Routes, bodies and answers over Node's own server. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { PoolTimeoutError } from "./pool.ts";

interface Exchange {
  readonly request: IncomingMessage;
  readonly url: URL;
  /** The value of a `:name` in the route's path. @throws {InternalError} for a name that it lacks. */
  parameter(name: string): string;
}

type Answer =
  | { readonly json: unknown; readonly status?: number }
  | {
      readonly text: string;
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly filePath: string };

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Below the base path; `:name` matches one segment. */
  readonly path: string;
  readonly handle: (exchange: Exchange) => Promise<Answer>;
}

/** An answer that is not a success. */
export class HttpProblem extends Error {
  override readonly name = "HttpProblem";
  readonly status: number;
  readonly body: unknown;

  constructor(
    message: string,
    details: { readonly status: number; readonly body?: unknown; readonly cause?: unknown },
  ) {
    super(message, { cause: details.cause });
    this.status = details.status;
    this.body = details.body ?? {
      message,
      validationErrors: { "": [message] },
      errorModel: { message, object: "error" },
      object: "error",
    };
  }
}

export interface Listener {
  readonly listener: RequestListener;
  /** How many requests are being worked on, whether or not their client is still there. */
  openCount(): number;
}

/** @param basePath - the path part of `DOMAIN`, before every route. */
export function createListener(
  routes: readonly Route[],
  basePath: string,
  logError: (message: string) => void,
): Listener {
  let openCount = 0;
  const compiled = routes.map((route) => ({ route, match: compilePath(basePath + route.path) }));
  const listener: RequestListener = (request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const method = request.method === "HEAD" ? "GET" : request.method;
    for (const { route, match } of compiled) {
      if (route.method !== method) continue;
      const parameters = match(url.pathname);
      if (parameters === undefined) continue;
      const exchange: Exchange = {
        request,
        url,
        parameter: (name) => parameters[name] as string,
      };
      openCount += 1;
      void answer(route, exchange, response, logError).finally(() => {
        openCount -= 1;
      });
      return;
    }
    sendJson(response, 404, { object: "error", message: "not found" });
  };
  return { listener, openCount: () => openCount };
}

/** @throws {HttpProblem} 400, if the body is no JSON object. */
export async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse((await readBody(request)).toString());
    if (typeof parsed === "object" && parsed !== null) return parsed as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new HttpProblem("the body is no JSON object", { status: 400 });
}

export async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  return new URLSearchParams((await readBody(request)).toString());
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function answer(
  route: Route,
  exchange: Exchange,
  response: ServerResponse,
  logError: (message: string) => void,
): Promise<void> {
  try {
    const answered = await route.handle(exchange);
    if ("filePath" in answered) await sendFile(response, answered.filePath);
    else if ("json" in answered) sendJson(response, answered.status ?? 200, answered.json);
    else
      response
        .writeHead(answered.status ?? 200, { "content-type": "text/plain", ...answered.headers })
        .end(answered.text);
  } catch (error) {
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (error instanceof HttpProblem) {
      sendJson(response, error.status, error.body);
      return;
    }
    // The request fails, the server lives on: also with a corrupt database.
    logError(`${route.method} ${exchange.url.pathname}: ${String(error)}`);
    const status = error instanceof PoolTimeoutError ? 503 : 500;
    sendJson(response, status, { object: "error", message: String(error) });
  }
}

function sendJson(response: ServerResponse, status: number, json: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
}

async function sendFile(response: ServerResponse, path: string): Promise<void> {
  let size: number;
  try {
    size = (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    sendJson(response, 404, { object: "error", message: "no such file" });
    return;
  }
  response.writeHead(200, { "content-length": size, "content-type": "application/octet-stream" });
  await pipeline(createReadStream(path), response);
}

function compilePath(path: string): (pathname: string) => Record<string, string> | undefined {
  const segments = path.split("/");
  return (pathname) => {
    const given = pathname.split("/");
    if (given.length !== segments.length) return undefined;
    const parameters: Record<string, string> = {};
    for (const [index, segment] of segments.entries()) {
      const value = given[index] as string;
      // Nothing that comes from a path may walk out of a folder.
      if (segment.startsWith(":") && /^[\w-]+$/.test(value)) parameters[segment.slice(1)] = value;
      else if (segment !== value) return undefined;
    }
    return parameters;
  };
}
