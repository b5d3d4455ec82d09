import type { ProxiedRequest } from "./s3-proxy.ts";
import { type S3Operation, s3Operations } from "./s3-request.ts";
import { type Figure, megabyte } from "./scenario.ts";

/** Undefined where nobody counts, or where there is no such contender. */
export type Requests = readonly ProxiedRequest[] | undefined;

/** A line for each kind of request that anyone made, and the bytes of their bodies. None where nobody counted. */
export function requestFigures(
  name: string,
  ours: Requests,
  stock: Requests,
  tuned?: Requests,
): Figure[] {
  if (ours === undefined) return [];
  const bytes = (direction: "bytesUp" | "bytesDown"): Pick<Figure, "ours" | "stock" | "tuned"> => ({
    ours: bytesOf(ours, direction) / megabyte,
    stock: stock && bytesOf(stock, direction) / megabyte,
    tuned: tuned && bytesOf(tuned, direction) / megabyte,
  });
  return [
    ...countByOperation(ours, stock, tuned).map(
      ({ operation, ...counts }): Figure => ({
        name: `${name}: ${operation}`,
        unit: "",
        ...counts,
      }),
    ),
    { name: `${name}: bytes up`, unit: "MB", ...bytes("bytesUp") },
    { name: `${name}: bytes down`, unit: "MB", ...bytes("bytesDown") },
  ];
}

/** Of those kinds that anyone made. */
export function countByOperation(
  ours: readonly ProxiedRequest[],
  stock: Requests,
  tuned?: Requests,
): {
  readonly operation: S3Operation;
  readonly ours: number;
  readonly stock: number | undefined;
  readonly tuned: number | undefined;
}[] {
  const countOf = (requests: readonly ProxiedRequest[], operation: S3Operation): number =>
    requests.filter((request) => request.operation === operation).length;
  return s3Operations
    .map((operation) => ({
      operation,
      ours: countOf(ours, operation),
      stock: stock && countOf(stock, operation),
      tuned: tuned && countOf(tuned, operation),
    }))
    .filter(({ ours, stock = 0, tuned = 0 }) => ours + stock + tuned > 0);
}

function bytesOf(requests: readonly ProxiedRequest[], direction: "bytesUp" | "bytesDown"): number {
  return requests.reduce((sum, request) => sum + request[direction], 0);
}
