/** Kinds of requests as stores bill them. `multipart` is all that belongs to an upload in parts, the parts included. */
export const s3Operations = ["PUT", "GET", "HEAD", "LIST", "DELETE", "multipart", "other"] as const;

export type S3Operation = (typeof s3Operations)[number];

export interface S3Request {
  readonly operation: S3Operation;
  /** Below the bucket, decoded; "" where the request is about the bucket, or about several objects. */
  readonly key: string;
  /** Success makes the whole object appear: a PUT, or the end of an upload in parts. */
  readonly isStoring: boolean;
}

/**
 * What a request of the S3 API is, by its method and target alone.
 *
 * @param target - as it stands in the request line, addressed by path: `/bucket/key?query`.
 */
export function readS3Request(method: string, target: string): S3Request {
  const { pathname, searchParams: query } = new URL(target, "http://store");
  const key = decodeURIComponent(pathname.split("/").slice(2).join("/"));
  const operation = readOperation(method, key, query);
  const isEndOfUpload = method === "POST" && query.has("uploadId");
  return { operation, key, isStoring: operation === "PUT" || isEndOfUpload };
}

function readOperation(method: string, key: string, query: URLSearchParams): S3Operation {
  if (query.has("uploadId") || query.has("uploads")) return "multipart";
  if (method === "HEAD" || method === "DELETE") return method;
  if (key === "") {
    if (method === "POST" && query.has("delete")) return "DELETE";
    const isSubresource = ["location", "versioning", "policy", "acl"].some((name) =>
      query.has(name),
    );
    return method === "GET" && !isSubresource ? "LIST" : "other";
  }
  return method === "PUT" || method === "GET" ? method : "other";
}
