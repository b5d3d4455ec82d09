/**
 * Why a request to S3 has no usable answer: what `s3-errors.ts` judges, and the cause that its errors show.
 *
 * It is built from single fields, never from the SDK's error: that one carries the request, and with it the credentials and the signature.
 */
export class S3Failure extends Error {
  override readonly name = "S3Failure";
  /** `answer`: the store refused or failed; `unusable`: it answered something that is not S3's; `connection`: no answer. */
  readonly kind: "answer" | "unusable" | "connection";
  readonly status: number | undefined;
  /** S3's own code, e.g. `NoSuchKey`. Answers to HEAD have none, and neither have those of proxies. */
  readonly s3Code: string | undefined;
  /** The code of the operating system, of TLS, or of Node's HTTP, e.g. `ECONNRESET`. */
  readonly networkCode: string | undefined;
  /** By which the store's own log finds the request. */
  readonly requestId: string | undefined;
  /** The store's clock at its answer. */
  readonly storeTime: Date | undefined;
  /** How long the store wants to be left alone, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Where the store says that the bucket is. */
  readonly bucketRegion: string | undefined;

  constructor(message: string, fields: S3FailureFields) {
    super(message);
    this.kind = fields.kind;
    this.status = fields.status;
    this.s3Code = fields.s3Code;
    this.networkCode = fields.networkCode;
    this.requestId = fields.requestId;
    this.storeTime = fields.storeTime;
    this.retryAfterMs = fields.retryAfterMs;
    this.bucketRegion = fields.bucketRegion;
  }
}

export interface S3FailureFields {
  readonly kind: S3Failure["kind"];
  readonly status?: number | undefined;
  readonly s3Code?: string | undefined;
  readonly networkCode?: string | undefined;
  readonly requestId?: string | undefined;
  readonly storeTime?: Date | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly bucketRegion?: string | undefined;
}

/** Takes secrets, and what only looks like one, out of a text that somebody else wrote. */
export function redact(text: string, secrets: readonly string[]): string {
  return secrets
    .filter((secret) => secret !== "")
    .reduce((shown, secret) => shown.replaceAll(secret, "[hidden]"), text)
    .replace(/\/\/[^/@\s]*@/g, "//")
    .replace(/((?:Signature|Credential|X-Amz-Security-Token)=)[^&,\s]+/gi, "$1[hidden]");
}
