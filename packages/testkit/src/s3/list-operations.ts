import { createHash } from "node:crypto";
import { compareKeys } from "./s3-bucket.ts";
import { accessDenied, S3Error } from "./s3-error.ts";
import { answerXml, type S3Answer, type S3Operating } from "./s3-operation.ts";
import { renderXml } from "./s3-xml.ts";
import { encodeUri } from "./sigv4.ts";

/** A key, or what keys up to the delimiter have in common. */
interface ListEntry {
  readonly text: string;
  readonly isPrefix: boolean;
  /** Entries are listed in the order of their ranks. */
  readonly rank: string;
}

/** ListObjects and ListObjectsV2. Each page is a listing of its own: what was written since then shows. */
export function listObjects(operating: S3Operating): S3Answer {
  const { bucket, personality, request, note } = operating;
  if (!personality.mayList) throw accessDenied();
  const { query } = request;
  let version = query["list-type"] === "2" ? 2 : 1;
  if (version > personality.listVersionMax) {
    note("listed-as-v1");
    version = 1;
  }
  const prefix = query["prefix"] ?? "";
  const delimiter = query["delimiter"] ?? "";
  const maxKeys = parseMaxKeys(query["max-keys"]);
  const token = version === 2 ? query["continuation-token"] : undefined;
  const isUnsorted = personality.listOrder === "hashed";
  const startAfter = version === 2 && !isUnsorted ? query["start-after"] : undefined;
  const after = token === undefined ? (startAfter ?? query["marker"]) : decodeToken(token);

  const entriesBehind = findEntries(bucket.listKeys(), prefix, delimiter, isUnsorted).filter(
    // A page that ended with a common prefix goes on behind all of its keys.
    ({ rank }) => after === undefined || compareKeys(rank, rankOf(after, isUnsorted)) > 0,
  );
  const entries = entriesBehind.slice(0, maxKeys);
  const isTruncated = maxKeys > 0 && entriesBehind.length > maxKeys;

  const isUrl = query["encoding-type"] === "url";
  const encode = (text: string): string => (isUrl ? encodeUri(text, true) : text);
  const last = entries.at(-1)?.text;
  const next = isTruncated ? last : undefined;
  const contents = entries
    .filter(({ isPrefix }) => !isPrefix)
    .map(({ text }) => {
      const object = bucket.objects.get(text);
      return {
        Key: encode(text),
        LastModified: object?.lastModified.toISOString(),
        ETag: object?.etag,
        Size: object?.body.length,
        StorageClass: "STANDARD",
      };
    });
  const commonPrefixes = entries
    .filter(({ isPrefix }) => isPrefix)
    .map(({ text }) => ({ Prefix: encode(text) }));
  const position =
    version === 2
      ? {
          KeyCount: entries.length,
          ContinuationToken: token,
          NextContinuationToken: next === undefined ? undefined : encodeToken(next),
          StartAfter: startAfter === undefined ? undefined : encode(startAfter),
        }
      : {
          Marker: encode(query["marker"] ?? ""),
          // Only with a delimiter, as on AWS: else a client has to go on from the last key.
          NextMarker: next === undefined || delimiter === "" ? undefined : encode(next),
        };
  return answerXml(
    renderXml("ListBucketResult", {
      Name: request.bucket,
      Prefix: encode(prefix),
      ...position,
      Delimiter: delimiter === "" ? undefined : encode(delimiter),
      MaxKeys: maxKeys,
      EncodingType: isUrl ? "url" : undefined,
      IsTruncated: isTruncated,
      Contents: contents,
      CommonPrefixes: commonPrefixes,
    }),
  );
}

/** ListMultipartUploads, all on one page. */
export function listUploads(operating: S3Operating): S3Answer {
  const { bucket, request, personality } = operating;
  if (!personality.mayList) throw accessDenied();
  const prefix = request.query["prefix"] ?? "";
  const uploads = [...bucket.uploads.values()]
    .filter(({ key }) => key.startsWith(prefix))
    .sort((a, b) => compareKeys(a.key, b.key))
    .map(({ key, id, initiated }) => ({
      Key: key,
      UploadId: id,
      Initiated: initiated.toISOString(),
      StorageClass: "STANDARD",
    }));
  return answerXml(
    renderXml("ListMultipartUploadsResult", {
      Bucket: request.bucket,
      Prefix: prefix,
      MaxUploads: 1000,
      IsTruncated: false,
      Upload: uploads,
    }),
  );
}

function findEntries(
  keys: readonly string[],
  prefix: string,
  delimiter: string,
  isUnsorted: boolean,
): ListEntry[] {
  const entries = new Map<string, ListEntry>();
  for (const key of keys) {
    if (!key.startsWith(prefix)) continue;
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
    const text = cut < 0 ? key : key.slice(0, cut + delimiter.length);
    entries.set(text, { text, isPrefix: cut >= 0, rank: rankOf(text, isUnsorted) });
  }
  const found = [...entries.values()];
  return isUnsorted ? found.sort((a, b) => compareKeys(a.rank, b.rank)) : found;
}

/** An order that has nothing to do with keys, but is the same on every page. */
function rankOf(text: string, isUnsorted: boolean): string {
  return isUnsorted ? createHash("sha256").update(text).digest("hex") : text;
}

function parseMaxKeys(text: string | undefined): number {
  if (text === undefined) return 1000;
  if (!/^\d+$/.test(text)) {
    throw new S3Error(400, "InvalidArgument", "Provided max-keys not an integer or within range");
  }
  return Math.min(1000, Number(text));
}

function encodeToken(after: string): string {
  return Buffer.from(after).toString("base64url");
}

function decodeToken(token: string): string {
  const after = Buffer.from(token, "base64url").toString();
  if (encodeToken(after) !== token || token === "") {
    throw new S3Error(400, "InvalidArgument", "The continuation token provided is incorrect");
  }
  return after;
}
