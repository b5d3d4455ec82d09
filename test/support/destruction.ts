import type { S3RequestLogEntry } from "@vaultwarden-stream/testkit";

/** Keys that may be written again and deleted: leases, and what a probe of the store's conditions leaves. */
const mayChange = /(^|\/)probe\/|\.lease\.json$/;

/**
 * What a client destroyed: deletions, and objects that were overwritten with other bytes (the signed SHA-256 of each body is in the log).
 *
 * A request whose answer was lost counts as done if the server did it.
 */
export function findDestruction(requests: readonly S3RequestLogEntry[]): string[] {
  const found: string[] = [];
  const bodies = new Map<string, string>();
  for (const { operation, key, headers, status, fault, query } of requests) {
    if (mayChange.test(key)) continue;
    if (operation === "DeleteObject" || operation === "DeleteObjects") {
      found.push(`${operation} ${key}`);
    }
    if (operation !== "PutObject" || query["partNumber"] !== undefined) continue;
    const wasLost = fault !== undefined && "when" in fault && fault.when === "after";
    // Of a lost answer it is not known whether a condition held; where one was sent, nothing can have been overwritten.
    const isDone = status === 200 || (wasLost && headers["if-none-match"] === undefined);
    if (!isDone) continue;
    const hash = headers["x-amz-content-sha256"] ?? "";
    const before = bodies.get(key);
    if (before !== undefined && before !== hash) found.push(`${key} was overwritten`);
    bodies.set(key, hash);
  }
  return found;
}
