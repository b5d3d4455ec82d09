import { createHash } from "node:crypto";
import type { S3Object } from "./s3-bucket.ts";
import { accessDenied, noSuchKey, notImplemented, S3Error } from "./s3-error.ts";
import { answerXml, readVisible, type S3Answer, type S3Operating } from "./s3-operation.ts";
import { findElements, findText, renderXml } from "./s3-xml.ts";
import { judgeConditions } from "./write-conditions.ts";

/** PutObject. */
export function putObject(operating: S3Operating): S3Answer {
  const { request, body } = operating;
  const { etag } = storeObject(operating, body, describeObject(request.headers), undefined);
  return { status: 200, headers: { etag }, body: "" };
}

/** CopyObject, inside of the bucket. */
export function copyObject(operating: S3Operating): S3Answer {
  const { request } = operating;
  const source = /^\/?([^/]+)\/([^?]+)/.exec(
    decodeURIComponent(request.headers["x-amz-copy-source"] ?? ""),
  );
  if (source === null || source[1] !== request.bucket) {
    throw new S3Error(400, "InvalidArgument", "Copy Source must mention this bucket and a key");
  }
  const copied = readVisible(operating, source[2]);
  if (copied === undefined) throw noSuchKey(source[2] ?? "");
  const description =
    request.headers["x-amz-metadata-directive"] === "REPLACE"
      ? describeObject(request.headers)
      : copied;
  const { etag, lastModified } = storeObject(operating, copied.body, description, undefined);
  return answerXml(
    renderXml("CopyObjectResult", { ETag: etag, LastModified: lastModified.toISOString() }),
  );
}

/** GetObject and HeadObject, with `Range`. */
export function getObject(operating: S3Operating): S3Answer {
  const { request, personality } = operating;
  const object = readVisible(operating);
  if (object === undefined) {
    // AWS does not tell those who may not list whether a key exists (s3.md 9).
    if (!personality.mayList) throw accessDenied();
    throw noSuchKey(request.key);
  }
  const size = object.body.length;
  const headers = {
    "content-type": object.contentType,
    etag: object.etag,
    "last-modified": object.lastModified.toUTCString(),
    "accept-ranges": "bytes",
    ...Object.fromEntries(
      Object.entries(object.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
    ),
  };
  const range = parseRange(request.headers["range"], size);
  if (range === undefined) return { status: 200, headers, body: object.body };
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${range.start}-${range.end - 1}/${size}` },
    body: object.body.subarray(range.start, range.end),
  };
}

/** DeleteObject. A missing key is no error. */
export function deleteObject(operating: S3Operating): S3Answer {
  const { bucket, request, now } = operating;
  if (request.headers["if-match"] !== undefined) judgeConditions(operating);
  bucket.delete(request.key, now.getTime());
  return { status: 204, headers: {}, body: "" };
}

/** DeleteObjects. */
export function deleteObjects(operating: S3Operating): S3Answer {
  const { bucket, personality, request, body, now, note, fault } = operating;
  if (personality.multiDelete === "refused") throw notImplemented("POST ?delete");
  const hasMd5 = request.headers["content-md5"] !== undefined;
  const hasChecksum = Object.keys(request.headers).some((name) => /^x-amz-checksum-/.test(name));
  if (!hasMd5 && (personality.multiDelete === "wants-md5" || !hasChecksum)) {
    throw new S3Error(
      400,
      "InvalidRequest",
      "Missing required header for this request: Content-MD5",
    );
  }
  const xml = body.toString("utf8");
  const keys = findElements(xml, "Object").map((object) => findText(object, "Key") ?? "");
  if (keys.length === 0 || keys.length > 1000 || keys.includes("")) throw malformedXml();
  if (personality.multiDelete === "silent") {
    note("nothing-deleted");
    return answerXml(renderXml("DeleteResult", {}));
  }
  const partly = fault?.kind === "partly" ? fault : undefined;
  const stays = new RegExp(partly?.keyPattern ?? "^$");
  const gone = keys.filter((key) => !stays.test(key));
  for (const key of gone) bucket.delete(key, now.getTime());
  const isQuiet = findText(xml, "Quiet") === "true";
  const code = partly?.code;
  const errors = keys
    .filter((key) => code !== undefined && stays.test(key))
    .map((key) => ({ Key: key, Code: code, Message: "A planned fault leaves it." }));
  return answerXml(
    renderXml("DeleteResult", {
      Deleted: isQuiet ? undefined : gone.map((key) => ({ Key: key })),
      Error: errors,
    }),
  );
}

/** What an object has besides its body, from the headers of its write. */
export function describeObject(
  headers: Readonly<Record<string, string>>,
): Pick<S3Object, "metadata" | "contentType"> {
  const prefix = "x-amz-meta-";
  const metadata = Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );
  const size = Object.entries(metadata).reduce((sum, pair) => sum + pair.join("").length, 0);
  if (size > 2048) {
    throw new S3Error(
      400,
      "MetadataTooLarge",
      "Your metadata headers exceed the maximum allowed metadata size",
    );
  }
  return { metadata, contentType: headers["content-type"] ?? "binary/octet-stream" };
}

/** The commit of every write: condition, write rate and state in one step. */
export function storeObject(
  operating: S3Operating,
  body: Uint8Array,
  description: Pick<S3Object, "metadata" | "contentType">,
  multipartEtag: string | undefined,
): S3Object {
  const { bucket, personality, request, now, note } = operating;
  const { key } = request;
  if (Buffer.byteLength(key) > 1024) {
    throw new S3Error(400, "KeyTooLongError", "Your key is too long");
  }
  if (!operating.isJudged) judgeConditions(operating);
  const lastWriteMs = bucket.lastWriteMs(key) ?? Number.NEGATIVE_INFINITY;
  if (now.getTime() - lastWriteMs < personality.sameKeyWriteIntervalMs) {
    note("write-rate-limited");
    throw new S3Error(
      429,
      "TooManyRequests",
      "Reduce your concurrent request rate for the same object.",
    );
  }
  const object: S3Object = {
    body,
    metadata: description.metadata,
    contentType: description.contentType,
    etag:
      personality.etag === "opaque"
        ? `"${operating.nextId()}"`
        : (multipartEtag ?? `"${md5(body).toString("hex")}"`),
    lastModified: new Date(Math.floor(now.getTime() / 1000) * 1000),
  };
  bucket.write(key, object, now.getTime(), operating.hiddenListCount);
  return object;
}

export function md5(body: Uint8Array): Buffer {
  return createHash("md5").update(body).digest();
}

export function malformedXml(): S3Error {
  return new S3Error(
    400,
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
  );
}

/** A range that is not understood is no range, as in HTTP. */
function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return undefined;
  const isSuffix = match[1] === "";
  const start = isSuffix ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = isSuffix || match[2] === "" ? size : Math.min(size, Number(match[2]) + 1);
  if (start >= end) {
    throw new S3Error(416, "InvalidRange", "The requested range is not satisfiable", {
      headers: { "content-range": `bytes */${size}` },
      fields: { RangeRequested: header ?? "", ActualObjectSize: String(size) },
    });
  }
  return { start, end };
}
