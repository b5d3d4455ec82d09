/**
 * PUT and GET of an object, which are nearly all requests of a sync and of a restore: signed and sent by the SDK's own signer and
 * handler, without its commands. Their general way (schemas, endpoint rules, a stack of middleware) takes half of the CPU that a small
 * object costs. And the bulk delete, whose command sends a checksum that many stores refuse, and not the one that they want.
 */
import { Readable } from "node:stream";
import type { NodeHttpHandler } from "@smithy/node-http-handler";
import { SignatureV4 } from "@smithy/signature-v4";
import type { S3Settings } from "./s3-settings.ts";
import { findElements, findText } from "./s3-xml.ts";

export interface DirectRequest {
  readonly method: "GET" | "PUT" | "POST";
  /** As the store names it; empty: the bucket is asked. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Names in lower case. Those of the signature are added. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | Readable | undefined;
  /** Of the body, 64 hex digits. */
  readonly sha256: string;
  readonly signal: AbortSignal;
  /** Until the headers of the answer, in milliseconds. */
  readonly timeoutMs: number;
}

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Has to be read or destroyed. */
  readonly body: Readable;
}

/** The answers to a request that the store refuses are short; those of a proxy may be a page. */
const errorBodyBytesMax = 64 * 1024;

export class DirectRequests {
  readonly #settings: S3Settings;
  readonly #handler: NodeHttpHandler;
  readonly #signer: SignatureV4;
  readonly #origin: {
    readonly protocol: string;
    readonly hostname: string;
    readonly port?: number;
    readonly host: string;
    readonly path: string;
  };

  constructor(
    settings: S3Settings,
    handler: NodeHttpHandler,
    sha256: ConstructorParameters<typeof SignatureV4>[0]["sha256"],
  ) {
    this.#settings = settings;
    this.#handler = handler;
    const { credentials, region, endpoint, bucket, isPathStyle } = settings;
    this.#signer = new SignatureV4({
      credentials: { ...credentials },
      region,
      service: "s3",
      sha256,
      uriEscapePath: false, // a key is escaped once, in the path
    });
    const { protocol, hostname, host, port, pathname } = new URL(endpoint);
    const before = isPathStyle ? "" : `${bucket}.`;
    const base = pathname === "/" ? "" : pathname;
    this.#origin = {
      protocol,
      hostname: before + hostname,
      host: before + host,
      ...(port === "" ? {} : { port: Number(port) }),
      path: isPathStyle ? `${base}/${bucket}/` : `${base}/`,
    };
  }

  /** @throws what the handler throws if there is no answer: an abort, a time-out, an error of the connection. */
  async send(request: DirectRequest): Promise<RawAnswer> {
    const { method, key, query = {}, headers, body, sha256, signal, timeoutMs } = request;
    const { host, path, ...origin } = this.#origin;
    const signed = await this.#signer.sign({
      ...origin,
      method,
      path: path + key.split("/").map(escapeSegment).join("/"),
      query: { ...query },
      headers: {
        ...headers,
        ...this.#settings.profile.extraHeaders,
        host,
        "user-agent": "vaultwarden-stream",
        "x-amz-content-sha256": sha256,
      },
      body,
    });
    const { response } = await this.#handler.handle(signed as never, {
      abortSignal: signal,
      requestTimeout: timeoutMs,
    });
    return {
      status: response.statusCode,
      headers: response.headers,
      body: response.body instanceof Readable ? response.body : Readable.from([]),
    };
  }
}

/**
 * What an answer of status 300 and above says of its reason.
 *
 * @returns S3's code and message, where it is S3 that answers.
 * @throws the connection's error if the answer breaks off.
 */
export async function readErrorAnswer(
  body: Readable,
): Promise<{ readonly code: string | undefined; readonly message: string }> {
  return parseError(await readText(body, errorBodyBytesMax));
}

/** What the document says, if it is an error of S3. */
export function parseError(document: string): {
  readonly code: string | undefined;
  readonly message: string;
} {
  const [error = ""] = findElements(document, "Error");
  return { code: findText(error, "Code"), message: findText(error, "Message") ?? "" };
}

/** The beginning of the body, up to the chunk that reaches the limit. */
export async function readText(body: Readable, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= bytesMax) break;
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** As the signature wants it (RFC 3986). */
function escapeSegment(segment: string): string {
  return encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
