import { renderXml } from "./s3-xml.ts";

/** An answer of the store that is not a success, thrown by the code that finds the reason. */
export class S3Error extends Error {
  override readonly name = "S3Error";
  readonly status: number;
  readonly code: string;
  /** Further elements of the XML, such as `Region` or `ServerTime`. */
  readonly fields: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    more: {
      readonly fields?: Readonly<Record<string, string>>;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = more.fields ?? {};
    this.headers = more.headers ?? {};
  }
}

/** An error as AWS words it. */
export function renderError(error: S3Error, resource: string, requestId: string): string {
  return renderXml("Error", {
    Code: error.code,
    Message: error.message,
    ...error.fields,
    Resource: resource,
    RequestId: requestId,
  });
}

export function noSuchKey(key: string): S3Error {
  return new S3Error(404, "NoSuchKey", "The specified key does not exist.", {
    fields: { Key: key },
  });
}

export function accessDenied(message = "Access Denied"): S3Error {
  return new S3Error(403, "AccessDenied", message);
}

export function notImplemented(what: string): S3Error {
  return new S3Error(
    501,
    "NotImplemented",
    `A header you provided implies functionality that is not implemented: ${what}`,
  );
}

export function missingContentLength(): S3Error {
  return new S3Error(
    411,
    "MissingContentLength",
    "You must provide the Content-Length HTTP header.",
  );
}
