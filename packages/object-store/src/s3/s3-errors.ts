import { ObjectStoreError, type ObjectStoreErrorCode } from "../errors.ts";
import type { S3Failure } from "./s3-failure.ts";

/** What was asked, and of whom: for the messages. */
export interface S3RequestContext {
  /** Of the contract: `put`, `putIfAbsent`, `get`, `head`, `list`, `delete`. */
  readonly operation: string;
  /** As the caller knows it. */
  readonly key: string;
  readonly bucket: string;
  readonly endpoint: string;
  /** Requests are signed for it. */
  readonly region: string;
  readonly extraRetryStatuses: readonly number[];
  /** This machine's time. */
  readonly now: Date;
}

interface Judgement {
  readonly code: ObjectStoreErrorCode;
  readonly reason?: string;
  readonly hint?: string;
}

/**
 * Says what a failed request means for the caller. Nothing but S3's own `NoSuchKey` is `NOT_FOUND`: a missing bucket, the page of
 * a proxy and an answer without a body are other errors (s3.md 6, 7).
 */
export function explainS3Failure(failure: S3Failure, context: S3RequestContext): ObjectStoreError {
  const { code, reason, hint } = judge(failure, context);
  const { retryAfterMs } = failure;
  return new ObjectStoreError(code, reason ?? describe(failure), {
    operation: context.operation,
    key: context.key,
    ...(hint === undefined ? {} : { hint }),
    ...(code === "THROTTLED" && retryAfterMs !== undefined ? { retryAfterMs } : {}),
    cause: failure,
  });
}

function judge(failure: S3Failure, context: S3RequestContext): Judgement {
  if (failure.kind === "connection") return judgeConnection(failure, context);
  if (failure.kind === "unusable") {
    return { code: "STORE_FAILED", hint: notS3Hint(context) };
  }
  return judgeCode(failure, context) ?? judgeStatus(failure, context);
}

/** Codes that say more than their status, which is not the same everywhere. */
function judgeCode(failure: S3Failure, context: S3RequestContext): Judgement | undefined {
  const { bucket, operation } = context;
  switch (failure.s3Code) {
    case "NoSuchKey":
      if (failure.status !== 404 || (operation !== "get" && operation !== "head")) return undefined;
      return { code: "NOT_FOUND", reason: "there is no such object" };
    case "NoSuchBucket":
      return {
        code: "FORBIDDEN",
        reason: `the bucket ${bucket} does not exist`,
        hint: "Correct the bucket's name or the endpoint, or create the bucket: it is never created for you.",
      };
    case "InvalidAccessKeyId":
      return {
        code: "FORBIDDEN",
        hint: "The store does not know the access key ID. Correct it, or the endpoint: keys of one provider mean nothing to another.",
      };
    case "SignatureDoesNotMatch":
      return {
        code: "FORBIDDEN",
        hint: `The secret access key does not belong to the access key ID, or the region is not ${context.region}, or a proxy changes the requests.`,
      };
    case "RequestTimeTooSkewed":
      return {
        code: "FORBIDDEN",
        reason: `${describe(failure)}${describeClocks(failure, context)}`,
        hint: "Set the clock of this machine: signatures hold for 15 minutes.",
      };
    case "ExpiredToken":
    case "InvalidToken":
    case "TokenRefreshRequired":
      return {
        code: "FORBIDDEN",
        hint: "Get new temporary credentials; the session token has ended.",
      };
    case "AccessDenied":
      return { code: "FORBIDDEN", hint: permissionHint(context) };
    case "BadDigest":
    case "InvalidDigest":
    case "IncompleteBody":
    case "XAmzContentSHA256Mismatch":
      return {
        code: "BODY_MISMATCH",
        hint: "The body that arrived is not the one that was announced: it was changed on its way, or in its file while it was read.",
      };
    case "RequestTimeout":
      // AWS answers so, with 400, to an upload that stalls; 408 is the answer of stores that shed load.
      if (failure.status === 408) return undefined;
      return { code: "UNREACHABLE", hint: connectionHint(context) };
    case "SlowDown":
    case "TooManyRequests":
    case "RequestLimitExceeded":
      return { code: "THROTTLED", hint: throttledHint };
    case "QuotaExceeded":
    case "XMinioStorageFull":
      return { code: "OUT_OF_SPACE", hint: spaceHint };
    case "EntityTooLarge":
    case "KeyTooLongError":
    case "MetadataTooLarge":
      return { code: "INVALID_ARGUMENT" };
    default:
      return undefined;
  }
}

function judgeStatus(failure: S3Failure, context: S3RequestContext): Judgement {
  const status = failure.status ?? 0;
  if (context.extraRetryStatuses.includes(status))
    return { code: "THROTTLED", hint: throttledHint };
  if (status >= 300 && status < 400) return judgeRedirect(failure, context);
  switch (status) {
    case 401:
    case 403:
      return { code: "FORBIDDEN", hint: permissionHint(context) };
    case 404:
      // Without S3's reason this is no proof of absence.
      return { code: "STORE_FAILED", hint: notS3Hint(context) };
    case 408:
    case 429:
    case 503:
      return { code: "THROTTLED", hint: throttledHint };
    case 409:
      return {
        code: "STORE_FAILED",
        reason: `${describe(failure)}: nothing was decided between concurrent requests`,
        hint: "Nothing to do once: the request is sent again. If it stays, another writer uses the same keys.",
      };
    case 412:
      return {
        code: "STORE_FAILED",
        reason: `${describe(failure)}: no condition was sent`,
        hint: "The store, or something between, confuses requests. Look at its status page or log, and at proxies.",
      };
    case 416:
      return { code: "INVALID_ARGUMENT", reason: "the range begins at or beyond the object's end" };
    case 507:
      return { code: "OUT_OF_SPACE", hint: spaceHint };
  }
  if (failure.bucketRegion !== undefined && status === 400) return judgeRedirect(failure, context);
  if (status === 501 || (status >= 400 && status < 500)) {
    return {
      code: "FORBIDDEN",
      hint: "The store refuses the request as it is. Look at its provider's profile, region and endpoint.",
    };
  }
  return {
    code: "STORE_FAILED",
    hint: "The store has a failure of its own; look at its status page or log.",
  };
}

/** Redirects are never followed: they would carry signed requests to another host. */
function judgeRedirect(failure: S3Failure, context: S3RequestContext): Judgement {
  const { bucketRegion } = failure;
  return {
    code: "FORBIDDEN",
    hint:
      bucketRegion === undefined
        ? `The bucket ${context.bucket} is reached at another endpoint than ${context.endpoint}: correct it.`
        : `The bucket ${context.bucket} is in the region ${bucketRegion}, and requests are signed for ${context.region}: set the region, or the endpoint of that region.`,
  };
}

function judgeConnection(failure: S3Failure, context: S3RequestContext): Judgement {
  return { code: "UNREACHABLE", hint: connectionHint(context, failure.networkCode) };
}

function connectionHint({ endpoint }: S3RequestContext, networkCode = ""): string {
  if (networkCode === "ENOTFOUND" || networkCode === "EAI_AGAIN") {
    return `The name of the endpoint ${endpoint} is not found: correct it, or look at the name server.`;
  }
  if (networkCode === "EPROTO" || networkCode === "ERR_SSL_WRONG_VERSION_NUMBER") {
    return `What answers at ${endpoint} does not speak TLS: write http:// if that is meant.`;
  }
  if (/CERT|SIGNED|ERR_TLS|UNABLE_TO/.test(networkCode)) {
    return `The certificate of ${endpoint} is not trusted: name its authority by SSL_CERT_FILE.`;
  }
  return `Look whether ${endpoint} is up, and whether a firewall or proxy is in between (HTTPS_PROXY, NO_PROXY).`;
}

const throttledHint =
  "The store asks to be left alone for a while; look at its limits if it goes on.";
const spaceHint = "The store has no room left: free some, or raise the quota.";

function permissionHint({ bucket, operation }: S3RequestContext): string {
  const needed = {
    put: "s3:PutObject",
    putIfAbsent: "s3:PutObject",
    get: "s3:GetObject on the objects and s3:ListBucket on the bucket (without it a missing object looks forbidden)",
    head: "s3:GetObject on the objects and s3:ListBucket on the bucket (without it a missing object looks forbidden)",
    list: "s3:ListBucket",
    delete: "s3:DeleteObject",
  }[operation];
  return `Give the credentials ${needed ?? "access"} for the bucket ${bucket}.`;
}

function notS3Hint({ endpoint }: S3RequestContext): string {
  return `What answers at ${endpoint} may not be S3: look at the endpoint, its path, and proxies in between.`;
}

function describeClocks({ storeTime }: S3Failure, { now }: S3RequestContext): string {
  if (storeTime === undefined) return "";
  const seconds = Math.round((now.getTime() - storeTime.getTime()) / 1000);
  const direction = seconds < 0 ? "behind" : "ahead of";
  return `; this machine's clock is ${Math.abs(seconds)} s ${direction} the store's`;
}

function describe(failure: S3Failure): string {
  if (failure.kind !== "answer") return failure.message;
  const answer = `the store answered ${failure.status}${failure.s3Code === undefined ? "" : ` ${failure.s3Code}`}`;
  return failure.message === "" ? answer : `${answer} (${failure.message})`;
}
