/** What goes wrong with requests, as data that can cross the border of a process, and the matching of requests to it. */
import { createPrng } from "../prng.ts";
import type { S3Operation } from "./s3-request.ts";

/** One thing that goes wrong with one request. Bytes are counted from 0 in the HTTP body. */
export type S3Fault =
  /**
   * Answers this status with the XML of an error: instead of doing anything, or after it is done. A 412 after a commit is what the second
   * of two attempts gets whose first one's response was lost. A status of 200 is an error inside a success, as AWS gives it for long operations.
   */
  | {
      readonly kind: "answer";
      readonly status: number;
      /** Default: the one that belongs to the status, `NoSuchKey` for 404. */
      readonly code?: string;
      readonly when?: "before" | "after";
      /** Further response headers, e.g. `retry-after` in seconds or `x-amz-bucket-region`. */
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Closes the connection once the request is complete: without doing it, or after it is done. */
  | { readonly kind: "drop"; readonly when: "before" | "after" }
  /** Resets the connection once so many bytes of the body have passed. The request is not done, or is done. */
  | { readonly kind: "reset"; readonly during: "request" | "response"; readonly atByte: number }
  /** Announces the whole body and ends the connection after so many bytes of it. */
  | { readonly kind: "truncate"; readonly atByte: number }
  /** Flips the lowest bit of a byte of the body; by default of the middle one. */
  | { readonly kind: "garble"; readonly during: "request" | "response"; readonly atByte?: number }
  /**
   * Goes silent and leaves the connection open: `request` reads and does nothing, `headers` does it and does not answer, `body` answers up to
   * `atByte` (default: the half).
   */
  | {
      readonly kind: "stall";
      readonly during: "request" | "headers" | "body";
      readonly atByte?: number;
    }
  /** Waits before it is done. */
  | { readonly kind: "latency"; readonly ms: number }
  /** Puts a `Date` into the answer that is off by so much; `Last-Modified` stays. */
  | { readonly kind: "date"; readonly offsetMs: number }
  /** What this request writes is missing in so many listings (pages) to come. */
  | { readonly kind: "late-list"; readonly listCount: number }
  /** A bulk delete leaves the keys that the pattern is found in, and says so with this code; without a code it says nothing of them. */
  | { readonly kind: "partly"; readonly keyPattern: string; readonly code?: string }
  /** Cuts the XML of the answer in two. Answers without XML stay as they are. */
  | { readonly kind: "malformed-xml" };

/** A request as the plan sees it. */
export interface S3FaultRequest {
  readonly operation: S3Operation;
  readonly method: string;
  /** The object's key; of listings the prefix. */
  readonly key: string;
  readonly query: Readonly<Record<string, string>>;
  /** How often this operation was asked for with this key, from 1. */
  readonly nth: number;
  /** Of all requests, from 0. */
  readonly index: number;
}

/** All that is given must hold. */
export interface S3FaultMatch {
  readonly operation?: S3Operation | readonly S3Operation[];
  /** A regular expression, searched for in the key. */
  readonly keyPattern?: string;
  readonly nth?: number;
  readonly index?: number;
}

export interface S3FaultRule {
  readonly match: S3FaultMatch;
  readonly fault: S3Fault;
  /** Lets so many matching requests pass first. */
  readonly skip?: number;
  /** Then strikes so many; default: all. */
  readonly times?: number;
}

/** Random faults. What strikes a request depends on the seed, its operation, key and `nth` alone, not on the order of concurrent requests. */
export interface S3RandomFaults {
  readonly seed: number;
  /** Of each request, 0 … 1. */
  readonly probability: number;
  /** What is picked from. Default: `transientS3Faults`. */
  readonly faults?: readonly S3Fault[];
}

/** A plan that can be sent to another process: rules, of which the first that strikes is taken, or randomness. */
export type S3FaultPlanData = readonly S3FaultRule[] | S3RandomFaults;

export type S3FaultPlan = S3FaultPlanData | ((request: S3FaultRequest) => S3Fault | undefined);

/** Faults that a client has to survive by trying again; none of them takes longer than a moment. */
export const transientS3Faults: readonly S3Fault[] = [
  { kind: "answer", status: 500 },
  { kind: "answer", status: 503 },
  { kind: "answer", status: 429, headers: { "retry-after": "0" } },
  { kind: "answer", status: 408 },
  { kind: "answer", status: 500, when: "after" },
  { kind: "drop", when: "before" },
  { kind: "drop", when: "after" },
  { kind: "reset", during: "request", atByte: 0 },
  { kind: "reset", during: "response", atByte: 1 },
  { kind: "truncate", atByte: 1 },
  { kind: "latency", ms: 5 },
];

/** Turns a plan into a function; rules with `skip` or `times` count inside of it. */
export function compileS3FaultPlan(
  plan: S3FaultPlan,
): (request: S3FaultRequest) => S3Fault | undefined {
  if (typeof plan === "function") return plan;
  if (isRandom(plan)) return (request) => pickFault(plan, request);
  const rules = plan.map((rule) => ({ ...rule, matchCount: 0 }));
  return (request) => {
    for (const rule of rules) {
      if (!matches(rule.match, request)) continue;
      rule.matchCount += 1;
      const strike = rule.matchCount - (rule.skip ?? 0);
      if (strike >= 1 && strike <= (rule.times ?? Number.POSITIVE_INFINITY)) return rule.fault;
    }
    return undefined;
  };
}

function matches(match: S3FaultMatch, request: S3FaultRequest): boolean {
  const { operation, keyPattern, nth, index } = match;
  return (
    (operation === undefined || [operation].flat().includes(request.operation)) &&
    (keyPattern === undefined || new RegExp(keyPattern).test(request.key)) &&
    (nth === undefined || nth === request.nth) &&
    (index === undefined || index === request.index)
  );
}

function isRandom(plan: S3FaultPlanData): plan is S3RandomFaults {
  return !Array.isArray(plan);
}

function pickFault(plan: S3RandomFaults, request: S3FaultRequest): S3Fault | undefined {
  const identity = `${request.operation} ${request.nth} ${request.key}`;
  const prng = createPrng((plan.seed ^ hashText(identity)) >>> 0);
  return prng.chance(plan.probability) ? prng.pick(plan.faults ?? transientS3Faults) : undefined;
}

/** FNV-1a, 32 bits. */
function hashText(text: string): number {
  let hash = 0x811c_9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x0100_0193);
  return hash >>> 0;
}
