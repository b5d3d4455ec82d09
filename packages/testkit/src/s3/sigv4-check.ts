import { accessDenied, S3Error } from "./s3-error.ts";
import type { S3Request } from "./s3-request.ts";
import { computeSignature, type S3Credentials, type SigningScope } from "./sigv4.ts";

/** Whose signatures are taken, for which region, and how far the two clocks may be apart. */
export interface SignatureExpectation {
  readonly credentials: S3Credentials;
  readonly region: string;
  readonly now: Date;
  readonly clockSkewMaxMs: number;
}

/** What the check of the body needs from the check of the headers. */
export interface VerifiedSignature {
  readonly signature: string;
  readonly scope: SigningScope;
  readonly signedHeaders: readonly string[];
  readonly payloadHash: string;
}

/**
 * Checks the signature in the headers; that the body has the signed hash is left to the caller, who has read it.
 * A signed query (a presigned URL) is refused.
 *
 * @throws {S3Error} with AWS's code for what is wrong.
 */
export function checkSignature(
  request: S3Request,
  expectation: SignatureExpectation,
): VerifiedSignature {
  const { headers } = request;
  const authorization = headers["authorization"];
  if (authorization === undefined) throw accessDenied();
  const match =
    /^AWS4-HMAC-SHA256\s+Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/s3\/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/.exec(
      authorization,
    );
  if (match === null) {
    throw new S3Error(
      400,
      "AuthorizationHeaderMalformed",
      "The authorization header that you provided is not valid.",
    );
  }
  const [, accessKeyId = "", day = "", region = "", signedNames = "", signature = ""] = match;
  checkCredentials(accessKeyId, region, headers, expectation);
  const amzDate = headers["x-amz-date"] ?? "";
  checkDate(amzDate, day, expectation);

  const payloadHash = headers["x-amz-content-sha256"];
  if (payloadHash === undefined) {
    throw new S3Error(
      400,
      "InvalidRequest",
      "Missing required header for this request: x-amz-content-sha256",
    );
  }
  const signedHeaders = signedNames.split(";");
  const unsigned = Object.keys(headers).filter(
    (name) => (name === "host" || name.startsWith("x-amz-")) && !signedHeaders.includes(name),
  );
  if (unsigned.length > 0) {
    throw accessDenied(
      `There were headers present in the request which were not signed: ${unsigned.join(", ")}`,
    );
  }
  const scope = { amzDate, region, secretAccessKey: expectation.credentials.secretAccessKey };
  if (computeSignature({ ...request, payloadHash }, signedHeaders, scope) !== signature) {
    throw signatureDoesNotMatch();
  }
  return { signature, scope, signedHeaders, payloadHash };
}

export function signatureDoesNotMatch(): S3Error {
  return new S3Error(
    403,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
  );
}

function checkCredentials(
  accessKeyId: string,
  region: string,
  headers: Readonly<Record<string, string>>,
  { credentials, region: ownRegion }: SignatureExpectation,
): void {
  if (accessKeyId !== credentials.accessKeyId) {
    throw new S3Error(
      403,
      "InvalidAccessKeyId",
      "The AWS Access Key Id you provided does not exist in our records.",
      { fields: { AWSAccessKeyId: accessKeyId } },
    );
  }
  if (headers["x-amz-security-token"] !== credentials.sessionToken) {
    throw new S3Error(400, "InvalidToken", "The provided token is malformed or otherwise invalid.");
  }
  if (region !== ownRegion) {
    throw new S3Error(
      400,
      "AuthorizationHeaderMalformed",
      `The authorization header is malformed; the region '${region}' is wrong; expecting '${ownRegion}'`,
      { fields: { Region: ownRegion }, headers: { "x-amz-bucket-region": ownRegion } },
    );
  }
}

function checkDate(amzDate: string, day: string, expectation: SignatureExpectation): void {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate);
  if (match === null || amzDate.slice(0, 8) !== day) {
    throw accessDenied("AWS authentication requires a valid Date or x-amz-date header");
  }
  const [, year, month, dayOfMonth, hour, minute, second] = match.map(Number);
  const requestMs = Date.UTC(
    year ?? 0,
    (month ?? 1) - 1,
    dayOfMonth ?? 1,
    hour ?? 0,
    minute ?? 0,
    second ?? 0,
  );
  const { now, clockSkewMaxMs } = expectation;
  if (Math.abs(now.getTime() - requestMs) > clockSkewMaxMs) {
    throw new S3Error(
      403,
      "RequestTimeTooSkewed",
      "The difference between the request time and the current time is too large.",
      {
        fields: {
          RequestTime: amzDate,
          ServerTime: now.toISOString(),
          MaxAllowedSkewMilliseconds: String(clockSkewMaxMs),
        },
      },
    );
  }
}
