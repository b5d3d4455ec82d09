import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { missingContentLength, notImplemented, S3Error } from "./s3-error.ts";
import type { S3Personality } from "./s3-personalities.ts";
import type { S3Request } from "./s3-request.ts";
import { computeChunkSignature, sha256Hex } from "./sigv4.ts";
import { signatureDoesNotMatch, type VerifiedSignature } from "./sigv4-check.ts";

/**
 * Checks a received body against its headers (length, signed hash, MD5, checksums) and takes off `aws-chunked`.
 * CRC32, SHA-1 and SHA-256 are computed again; other checksums are taken as they are.
 *
 * @returns the object's own bytes.
 * @throws {S3Error} with AWS's code for what is wrong.
 */
export function openRequestBody(
  request: S3Request,
  received: Buffer,
  verified: VerifiedSignature,
  personality: S3Personality,
): Buffer {
  const { headers, operation } = request;
  const isUpload = operation === "PutObject" || operation === "UploadPart";
  const { payloadHash } = verified;
  // A body in `aws-chunked` may come without: it says its length in a header of its own.
  const lengthHeader = payloadHash.startsWith("STREAMING-")
    ? "x-amz-decoded-content-length"
    : "content-length";
  if (isUpload && headers[lengthHeader] === undefined) throw missingContentLength();

  let body = received;
  let trailers: Readonly<Record<string, string>> = {};
  if (payloadHash.startsWith("STREAMING-")) {
    if (personality.awsChunked === "not-implemented") throw notImplemented(payloadHash);
    if (personality.awsChunked === "invalid") {
      throw new S3Error(400, "InvalidArgument", `x-amz-content-sha256 must not be ${payloadHash}`);
    }
    ({ body, trailers } = decodeAwsChunked(received, verified));
    if (body.length !== Number(headers[lengthHeader])) throw incompleteBody();
  } else if (payloadHash !== "UNSIGNED-PAYLOAD" && payloadHash !== sha256Hex(received)) {
    throw new S3Error(
      400,
      "XAmzContentSHA256Mismatch",
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    );
  }
  checkDigests({ ...headers, ...trailers }, body);
  return body;
}

function checkDigests(headers: Readonly<Record<string, string>>, body: Buffer): void {
  const expected: readonly (readonly [string, () => string])[] = [
    ["content-md5", () => createHash("md5").update(body).digest("base64")],
    ["x-amz-checksum-sha1", () => createHash("sha1").update(body).digest("base64")],
    ["x-amz-checksum-sha256", () => createHash("sha256").update(body).digest("base64")],
    [
      "x-amz-checksum-crc32",
      () => {
        const bytes = Buffer.alloc(4);
        bytes.writeUInt32BE(crc32(body));
        return bytes.toString("base64");
      },
    ],
  ];
  for (const [name, compute] of expected) {
    const given = headers[name];
    if (given !== undefined && given !== compute()) {
      throw new S3Error(400, "BadDigest", `The ${name} you specified did not match what we got.`);
    }
  }
}

/** `size[;chunk-signature=…]\r\n bytes \r\n`, ended by a chunk of size 0 and the trailers. */
function decodeAwsChunked(
  received: Buffer,
  verified: VerifiedSignature,
): { body: Buffer; trailers: Record<string, string> } {
  const chunks: Buffer[] = [];
  const isSigned = verified.payloadHash.startsWith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
  let signature = verified.signature;
  let offset = 0;
  for (;;) {
    const lineEnd = received.indexOf("\r\n", offset);
    if (lineEnd < 0) throw incompleteBody();
    const line = received.toString("latin1", offset, lineEnd);
    const match = /^([0-9a-fA-F]+)(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
    if (match === null) throw incompleteBody();
    const size = Number.parseInt(match[1] ?? "", 16);
    const start = lineEnd + 2;
    const chunk = received.subarray(start, start + size);
    if (chunk.length !== size) throw incompleteBody();
    if (isSigned) {
      signature = computeChunkSignature(signature, chunk, verified.scope);
      if (signature !== match[2]) throw signatureDoesNotMatch();
    }
    if (size === 0) {
      return { body: Buffer.concat(chunks), trailers: parseTrailers(received.subarray(start)) };
    }
    chunks.push(chunk);
    if (received.toString("latin1", start + size, start + size + 2) !== "\r\n") {
      throw incompleteBody();
    }
    offset = start + size + 2;
  }
}

function parseTrailers(bytes: Buffer): Record<string, string> {
  const trailers: Record<string, string> = {};
  for (const line of bytes.toString("latin1").split("\r\n")) {
    const [name, value] = line.split(":", 2);
    if (name !== undefined && value !== undefined) trailers[name.toLowerCase()] = value.trim();
  }
  return trailers;
}

function incompleteBody(): S3Error {
  return new S3Error(
    400,
    "IncompleteBody",
    "The request body terminated before it was complete, or its length is not the announced one.",
  );
}
