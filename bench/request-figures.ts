import type { ProxiedRequest } from "./s3-proxy.ts";
import { type S3Operation, s3Operations } from "./s3-request.ts";
import { type Figure, megabyte } from "./scenario.ts";

/** Undefined where nobody counts, or where there is no such contender. */
export type Requests = readonly ProxiedRequest[] | undefined;

/** A line for each kind of request that either made, and the bytes of their bodies. None where nobody counted. */
export function requestFigures(name: string, ours: Requests, stock: Requests): Figure[] {
  if (ours === undefined) return [];
  const counts = countByOperation(ours, stock).map(
    ({ operation, ...counts }): Figure => ({ name: `${name}: ${operation}`, unit: "", ...counts }),
  );
  return [
    ...counts,
    {
      name: `${name}: bytes up`,
      unit: "MB",
      ours: bytesOf(ours, "bytesUp") / megabyte,
      stock: stock && bytesOf(stock, "bytesUp") / megabyte,
    },
    {
      name: `${name}: bytes down`,
      unit: "MB",
      ours: bytesOf(ours, "bytesDown") / megabyte,
      stock: stock && bytesOf(stock, "bytesDown") / megabyte,
    },
  ];
}

/** Of those kinds that either made. */
export function countByOperation(
  ours: readonly ProxiedRequest[],
  stock: Requests,
): {
  readonly operation: S3Operation;
  readonly ours: number;
  readonly stock: number | undefined;
}[] {
  const countOf = (requests: readonly ProxiedRequest[], operation: S3Operation): number =>
    requests.filter((request) => request.operation === operation).length;
  return s3Operations
    .map((operation) => ({
      operation,
      ours: countOf(ours, operation),
      stock: stock && countOf(stock, operation),
    }))
    .filter((counts) => counts.ours !== 0 || (counts.stock ?? 0) !== 0);
}

function bytesOf(requests: readonly ProxiedRequest[], direction: "bytesUp" | "bytesDown"): number {
  return requests.reduce((sum, request) => sum + request[direction], 0);
}
