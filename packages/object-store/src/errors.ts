/**
 * What can go wrong with a store, split by what the caller does next.
 *
 * "Not found", "forbidden", "unreachable" and "throttled" are four answers and never one: a caller that took an error for
 * "nothing there" would start an empty database over a full replica.
 */
export type ObjectStoreErrorCode =
  /** The object does not exist; the store said so itself. The caller may act on it. Never retried. */
  | "NOT_FOUND"
  /** The store refuses us: credentials, permissions, a read-only directory. Fix the configuration. Never retried. */
  | "FORBIDDEN"
  /** No answer: connection refused or reset, time-out, DNS, I/O error. Nothing is known about what happened. Retried. */
  | "UNREACHABLE"
  /** The store asks us to slow down (429, 503). Retried, with patience. */
  | "THROTTLED"
  /** The store answered with a failure of its own (500, 502, 504). Nothing is known about what happened. Retried. */
  | "STORE_FAILED"
  /** There is no room left (ENOSPC, EDQUOT, 507). Retried: space may be freed, but somebody has to be told. */
  | "OUT_OF_SPACE"
  /** The body ended early or had another length than announced. Retried. */
  | "BODY_MISMATCH"
  /** What may be stored within an hour is used up (`BudgetStore`). Nothing was sent. Retried: the next hour has a budget of its own. */
  | "BUDGET_EXCEEDED"
  /** A key, prefix, range or metadata entry that no store of ours accepts. A mistake of the caller. Never retried. */
  | "INVALID_ARGUMENT";

const retryableCodes: ReadonlySet<ObjectStoreErrorCode> = new Set([
  "UNREACHABLE",
  "THROTTLED",
  "STORE_FAILED",
  "OUT_OF_SPACE",
  "BODY_MISMATCH",
  "BUDGET_EXCEEDED",
]);

/** Most who ask for what is not there expect that answer. Whoever passes it on did not: the object was known to be there. */
const vanishedHint =
  "It was there, or should be: find out who deletes objects of this store, and try again.";

export interface ObjectStoreErrorDetails {
  /** What was asked: `put`, `get`, … */
  readonly operation: string;
  /** The key, or the prefix of a listing. */
  readonly key: string;
  /** What an operator can do about it, one sentence. */
  readonly hint?: string;
  /** Time after which the store wants to be asked again, in milliseconds. Only with `THROTTLED` and `BUDGET_EXCEEDED`. */
  readonly retryAfterMs?: number;
  /** Only with `deleteAll`: the keys that are not known to be gone. All others are. */
  readonly leftKeys?: readonly string[];
  readonly cause?: unknown;
}

/** Every failure of a store. The abort reason of a caller's own signal is not one: it passes unwrapped. */
export class ObjectStoreError extends Error {
  override readonly name = "ObjectStoreError";
  readonly code: ObjectStoreErrorCode;
  /** Whether the same request may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  readonly operation: string;
  readonly key: string;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly leftKeys: readonly string[] | undefined;

  constructor(code: ObjectStoreErrorCode, reason: string, details: ObjectStoreErrorDetails) {
    super(`${details.operation} ${JSON.stringify(details.key)}: ${reason}`, {
      cause: details.cause,
    });
    this.code = code;
    this.retryable = retryableCodes.has(code);
    this.operation = details.operation;
    this.key = details.key;
    this.hint = details.hint ?? (code === "NOT_FOUND" ? vanishedHint : undefined);
    this.retryAfterMs = details.retryAfterMs;
    this.leftKeys = details.leftKeys;
  }
}

/** Whether the store itself said that the object does not exist. False for every other error. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ObjectStoreError && error.code === "NOT_FOUND";
}
