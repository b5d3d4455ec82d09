/**
 * Signature Version 4 as S3 wants it: the path is encoded once, and `x-amz-content-sha256` is part of what is signed.
 * Pure; both the raw client and the check of the server are built on it.
 */
import { createHash, createHmac } from "node:crypto";

/** What a request is signed with. `sessionToken` goes along with temporary credentials. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** The parts of a request that a signature covers. */
export interface SignableRequest {
  readonly method: string;
  /** Decoded, with the bucket if it is addressed by path: `/bucket/a key`. */
  readonly path: string;
  /** Decoded. */
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The value of `x-amz-content-sha256`. */
  readonly payloadHash: string;
}

/** Date, region and key that a signature belongs to. */
export interface SigningScope {
  /** `20130524T000000Z`. */
  readonly amzDate: string;
  readonly region: string;
  readonly secretAccessKey: string;
}

/** Percent-encodes all but `A-Z a-z 0-9 - . _ ~`, and leaves `/` alone if asked to. */
export function encodeUri(text: string, keepSlashes: boolean): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return keepSlashes ? encoded.replaceAll("%2F", "/") : encoded;
}

/** The query as it is signed, and as our client sends it: sorted, with `=` behind every name. */
export function encodeQuery(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${encodeUri(name, false)}=${encodeUri(value, false)}`)
    .sort()
    .join("&");
}

/** The hexadecimal signature of a request over the given headers, whose names are in lower case. */
export function computeSignature(
  request: SignableRequest,
  signedHeaders: readonly string[],
  scope: SigningScope,
): string {
  const names = [...signedHeaders].sort();
  const canonicalRequest = [
    request.method,
    encodeUri(request.path, true),
    encodeQuery(request.query),
    ...names.map((name) => `${name}:${(request.headers[name] ?? "").trim().replace(/\s+/g, " ")}`),
    "",
    names.join(";"),
    request.payloadHash,
  ].join("\n");
  return signText(
    ["AWS4-HMAC-SHA256", scope.amzDate, credentialScope(scope), sha256Hex(canonicalRequest)],
    scope,
  );
}

/** Signs one chunk of a `STREAMING-AWS4-HMAC-SHA256-PAYLOAD` body; the first one follows the signature of the headers. */
export function computeChunkSignature(
  previousSignature: string,
  chunk: Uint8Array,
  scope: SigningScope,
): string {
  return signText(
    [
      "AWS4-HMAC-SHA256-PAYLOAD",
      scope.amzDate,
      credentialScope(scope),
      previousSignature,
      sha256Hex(""),
      sha256Hex(chunk),
    ],
    scope,
  );
}

/**
 * The headers of the request with those of its signature: `x-amz-date`, `x-amz-content-sha256`, the session token, `authorization`.
 * All given headers are signed, so `host` must be among them.
 */
export function signRequest(
  request: SignableRequest,
  credentials: S3Credentials,
  region: string,
  date: Date,
): Record<string, string> {
  const amzDate = formatAmzDate(date);
  const headers: Record<string, string> = {
    ...request.headers,
    "x-amz-date": amzDate,
    "x-amz-content-sha256": request.payloadHash,
    ...(credentials.sessionToken === undefined
      ? {}
      : { "x-amz-security-token": credentials.sessionToken }),
  };
  const scope = { amzDate, region, secretAccessKey: credentials.secretAccessKey };
  const signedHeaders = Object.keys(headers).sort();
  const signature = computeSignature({ ...request, headers }, signedHeaders, scope);
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${credentialScope(scope)}, SignedHeaders=${signedHeaders.join(";")}, Signature=${signature}`,
  };
}

/** `20130524T000000Z`. */
export function formatAmzDate(date: Date): string {
  return date.toISOString().replace(/[-:]|\.\d{3}/g, "");
}

export function sha256Hex(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function credentialScope(scope: SigningScope): string {
  return `${scope.amzDate.slice(0, 8)}/${scope.region}/s3/aws4_request`;
}

function signText(lines: readonly string[], scope: SigningScope): string {
  const date = hmac(`AWS4${scope.secretAccessKey}`, scope.amzDate.slice(0, 8));
  const key = hmac(hmac(hmac(date, scope.region), "s3"), "aws4_request");
  return hmac(key, lines.join("\n")).toString("hex");
}

function hmac(key: string | Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
