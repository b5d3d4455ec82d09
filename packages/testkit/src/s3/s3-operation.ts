import type { S3Bucket, S3Object } from "./s3-bucket.ts";
import type { S3Fault } from "./s3-faults.ts";
import type { S3Personality } from "./s3-personalities.ts";
import type { S3Request } from "./s3-request.ts";

/** What an operation works on: it runs in one step, without waiting for anything, which is what makes it atomic. */
export interface S3Operating {
  readonly bucket: S3Bucket;
  readonly personality: S3Personality;
  readonly now: Date;
  readonly request: S3Request;
  /** The object's own bytes, or the XML of the request. */
  readonly body: Buffer;
  /** In how many listings a written object is missing. */
  readonly hiddenListCount: number;
  readonly fault: S3Fault | undefined;
  /** The conditions were judged before the body came. */
  readonly isJudged: boolean;
  /** Never the same twice in the life of a server. */
  readonly nextId: () => string;
  /** Notes, for the log of requests, that the personality made a difference. */
  readonly note: (effect: string) => void;
}

export interface S3Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string;
}

export function answerXml(body: string): S3Answer {
  return { status: 200, headers: { "content-type": "application/xml" }, body };
}

/** The object as this request may see it: stale, if the store lags and the request does not ask for consistency. */
export function readVisible(
  { bucket, personality, now, request, note }: Omit<S3Operating, "body">,
  key: string = request.key,
): S3Object | undefined {
  const current = bucket.objects.get(key);
  if (request.headers["x-tigris-consistent"] === "true") return current;
  const visible = bucket.read(key, now.getTime(), personality.staleReadMs);
  if (visible !== current) note("stale-read");
  return visible;
}
