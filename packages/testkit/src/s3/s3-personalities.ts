/**
 * How stores that call themselves S3 differ, as far as it costs data (s3.md 2, 4, 6, 11): data only.
 * Where a vendor's behaviour is known only as "may", the personality always does it.
 */

/** One store's behaviour. */
export interface S3Personality {
  readonly name: string;
  /**
   * What becomes of `If-None-Match` and `If-Match` on writes: `honoured` judges and commits in one step, `early` judges before the body
   * is read, `ignored` answers 200 and overwrites, `inverted` takes a fresh key for an existing one, `refused` answers 501.
   */
  readonly conditions: "honoured" | "early" | "ignored" | "inverted" | "refused";
  /** A second write to a key within this time is answered with 429; 0 is no limit. Needs no wait: it is the store's clock. */
  readonly sameKeyWriteIntervalMs: number;
  /** `silent` answers 200 and deletes nothing; `wants-md5` refuses a request without `Content-MD5`; `refused` answers 501. */
  readonly multiDelete: "works" | "silent" | "wants-md5" | "refused";
  /** Bodies in `aws-chunked`: taken, 501, or 400. */
  readonly awsChunked: "accepted" | "not-implemented" | "invalid";
  /** `hashed` is an order that has nothing to do with the keys; `start-after` is ignored then. */
  readonly listOrder: "sorted" | "hashed";
  /** 1 takes every listing for version 1: `start-after` and `continuation-token` are ignored. */
  readonly listVersionMax: 1 | 2;
  /** For so long after a write, a request without `X-Tigris-Consistent: true` is judged and answered by the state before it. */
  readonly staleReadMs: number;
  /** `opaque` is no MD5 of anything. */
  readonly etag: "md5" | "opaque";
  /** Query parameters that are answered with 400. */
  readonly refusedQuery: readonly string[];
  /** Headers that may not be signed, since a proxy rewrites them: 403. */
  readonly unsignableHeaders: readonly string[];
  /** Without permission to list, listings are 403, and so is a missing key. */
  readonly mayList: boolean;
  readonly hasMultipart: boolean;
  /** Of all parts but the last. */
  readonly partBytesMin: number;
}

const aws: S3Personality = {
  name: "aws",
  conditions: "honoured",
  sameKeyWriteIntervalMs: 0,
  multiDelete: "works",
  awsChunked: "accepted",
  listOrder: "sorted",
  listVersionMax: 2,
  staleReadMs: 0,
  etag: "md5",
  refusedQuery: [],
  unsignableHeaders: [],
  mayList: true,
  hasMultipart: true,
  partBytesMin: 5 * 1024 * 1024,
};

export type S3PersonalityName =
  | "aws"
  | "r2"
  | "b2"
  | "garage-ignores"
  | "ceph-ignores"
  | "ceph-inverted"
  | "oracle-200"
  | "storj-unsorted"
  | "tigris-stale-read"
  | "gcs"
  | "early-judge"
  | "strict-md5"
  | "no-chunked"
  | "opaque-etag"
  | "list-v1-only"
  | "no-list-permission";

/** The personalities by name; a test may derive its own from one. */
export const s3Personalities: Readonly<Record<S3PersonalityName, S3Personality>> = {
  aws,
  r2: {
    ...aws,
    name: "r2",
    sameKeyWriteIntervalMs: 1000,
    multiDelete: "silent",
    awsChunked: "not-implemented",
  },
  b2: { ...aws, name: "b2", conditions: "refused", awsChunked: "invalid" },
  "garage-ignores": { ...aws, name: "garage-ignores", conditions: "ignored" },
  "ceph-ignores": { ...aws, name: "ceph-ignores", conditions: "ignored" },
  "ceph-inverted": { ...aws, name: "ceph-inverted", conditions: "inverted" },
  "oracle-200": { ...aws, name: "oracle-200", conditions: "ignored" },
  "storj-unsorted": { ...aws, name: "storj-unsorted", listOrder: "hashed" },
  "tigris-stale-read": { ...aws, name: "tigris-stale-read", staleReadMs: 1000 },
  gcs: {
    ...aws,
    name: "gcs",
    conditions: "ignored",
    multiDelete: "refused",
    refusedQuery: ["x-id"],
    unsignableHeaders: ["accept-encoding"],
  },
  "early-judge": { ...aws, name: "early-judge", conditions: "early" },
  "strict-md5": { ...aws, name: "strict-md5", multiDelete: "wants-md5" },
  "no-chunked": { ...aws, name: "no-chunked", awsChunked: "not-implemented" },
  "opaque-etag": { ...aws, name: "opaque-etag", etag: "opaque", hasMultipart: false },
  "list-v1-only": { ...aws, name: "list-v1-only", listVersionMax: 1 },
  "no-list-permission": { ...aws, name: "no-list-permission", mayList: false },
};
