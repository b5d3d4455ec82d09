import type { IncomingMessage } from "node:http";
import { S3Error } from "./s3-error.ts";

/** The operations by S3's own names; `Unknown` is everything that the server does not do. */
export type S3Operation =
  | "PutObject"
  | "CopyObject"
  | "GetObject"
  | "HeadObject"
  | "DeleteObject"
  | "DeleteObjects"
  | "ListObjects"
  | "ListObjectsV2"
  | "HeadBucket"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "ListMultipartUploads"
  | "Unknown";

/** A request whose body is still to come. */
export interface S3Request {
  readonly operation: S3Operation;
  readonly method: string;
  /** Decoded, as it was signed. */
  readonly path: string;
  readonly bucket: string;
  /** The object's key; empty for operations on the bucket. */
  readonly key: string;
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case; repeated ones joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Finds bucket, key and operation, by path or, if the host starts with the bucket's name, by host.
 *
 * @throws {S3Error} `InvalidURI` for a broken percent-encoding.
 */
export function parseS3Request(message: IncomingMessage, bucketName: string): S3Request {
  const method = message.method ?? "";
  const [rawPath = "/", rawQuery = ""] = splitOnce(message.url ?? "/", "?");
  const path = decode(rawPath);
  const query = Object.fromEntries(
    rawQuery
      .split("&")
      .filter((pair) => pair !== "")
      .map((pair) => splitOnce(pair.replaceAll("+", " "), "=").map(decode))
      .map(([name, value]) => [name, value ?? ""]),
  );
  const headers = Object.fromEntries(
    Object.entries(message.headersDistinct).map(([name, values]) => [
      name,
      (values ?? []).join(","),
    ]),
  );
  const byHost = (headers["host"] ?? "").startsWith(`${bucketName}.`);
  const [bucket = "", key = ""] = byHost
    ? [bucketName, path.slice(1)]
    : splitOnce(path.slice(1), "/");
  const operation = findOperation(method, key, query, headers);
  return { operation, method, path, bucket, key, query, headers };
}

function findOperation(
  method: string,
  key: string,
  query: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
): S3Operation {
  const names = Object.keys(query);
  const has = (name: string) => names.includes(name);
  if (key === "") {
    if (method === "HEAD") return "HeadBucket";
    if (method === "POST" && has("delete")) return "DeleteObjects";
    if (method !== "GET") return "Unknown";
    if (has("uploads")) return "ListMultipartUploads";
    // Policies, locations and the like must not be answered with a listing.
    if (!names.every((name) => listParameters.includes(name))) return "Unknown";
    return query["list-type"] === "2" ? "ListObjectsV2" : "ListObjects";
  }
  if (method === "POST") {
    if (has("uploads")) return "CreateMultipartUpload";
    return has("uploadId") ? "CompleteMultipartUpload" : "Unknown";
  }
  const isCopy = headers["x-amz-copy-source"] !== undefined;
  if (has("uploadId")) {
    if (method === "PUT" && !isCopy) return "UploadPart";
    return method === "DELETE" ? "AbortMultipartUpload" : "Unknown";
  }
  if (!names.every((name) => name === "x-id" || name === "versionId")) return "Unknown";
  if (method === "PUT") return isCopy ? "CopyObject" : "PutObject";
  if (method === "GET") return "GetObject";
  if (method === "HEAD") return "HeadObject";
  return method === "DELETE" ? "DeleteObject" : "Unknown";
}

const listParameters = [
  "list-type",
  "prefix",
  "delimiter",
  "max-keys",
  "marker",
  "continuation-token",
  "start-after",
  "encoding-type",
  "fetch-owner",
  "x-id",
];

function splitOnce(text: string, separator: string): string[] {
  const index = text.indexOf(separator);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + separator.length)];
}

function decode(text: string): string {
  const decoded = decodeOrUndefined(text);
  if (decoded === undefined) {
    throw new S3Error(400, "InvalidURI", "Couldn't parse the specified URI.");
  }
  return decoded;
}

function decodeOrUndefined(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    // It has one way to fail: the text is no percent-encoded UTF-8.
    return undefined;
  }
}
