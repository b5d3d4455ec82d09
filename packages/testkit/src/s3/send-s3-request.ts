import { type ClientRequest, type IncomingHttpHeaders, request as openRequest } from "node:http";
import { encodeQuery, encodeUri, type S3Credentials, sha256Hex, signRequest } from "./sigv4.ts";

/** Where to send requests, and as whom. Every S3 server of this package is one. */
export interface S3Target {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: S3Credentials;
}

/** A request of S3's HTTP interface, addressed by path. */
export interface S3RawRequest {
  readonly method: string;
  /** Decoded, with the bucket: `/bucket/key`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Names in lower case; all of them are signed. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Instead of the body's SHA-256. */
  readonly payloadHash?: string;
  /** The date of the signature. Default: now. */
  readonly date?: Date;
}

export interface S3RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * Sends one signed request over a connection of its own: no retry, no redirect, no time-out.
 *
 * @throws {Error} Node's own, if the connection ends before the answer is complete.
 */
export async function sendS3Request(target: S3Target, raw: S3RawRequest): Promise<S3RawAnswer> {
  const request = openS3Request(target, raw);
  const answer = receiveS3Answer(request);
  request.end(raw.body);
  return await answer;
}

/** A signed request whose headers are on their way; the caller writes `raw.body`, in the pieces and at the times it likes. */
export function openS3Request(target: S3Target, raw: S3RawRequest): ClientRequest {
  const { host } = new URL(target.endpoint);
  const query = raw.query ?? {};
  const body = raw.body ?? "";
  const signed = signRequest(
    {
      method: raw.method,
      path: raw.path,
      query,
      headers: { host, ...raw.headers },
      payloadHash: raw.payloadHash ?? sha256Hex(body),
    },
    target.credentials,
    target.region,
    raw.date ?? new Date(),
  );
  const queryText = encodeQuery(query);
  const request = openRequest(target.endpoint, {
    method: raw.method,
    path: `${encodeUri(raw.path, true)}${queryText === "" ? "" : `?${queryText}`}`,
    headers: {
      ...("transfer-encoding" in signed
        ? {}
        : { "content-length": String(Buffer.byteLength(body)) }),
      ...signed,
    },
    agent: false,
  });
  request.flushHeaders();
  return request;
}

/** The answer to a request. It must be asked for before the request can fail. */
export function receiveS3Answer(request: ClientRequest): Promise<S3RawAnswer> {
  return new Promise((resolve, reject) => {
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("error", reject);
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks),
        }),
      );
    });
  });
}
