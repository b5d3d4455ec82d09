import { fileURLToPath } from "node:url";
import { runTypeScriptChild } from "@vaultwarden-stream/testkit";

/** Writes rows of about 8 kB into a database, which it creates if it is missing. */
export interface FillJob {
  readonly database: string;
  /** Of row data, over all transactions. */
  readonly bytes: number;
  readonly transactionBytes: number;
  /** Share of the data that does not compress, 0 … 1; the rest is prose. */
  readonly randomShare: number;
  /** Bytes; only for a new database. Default 4096. */
  readonly pageSize?: number;
  /** Between two transactions. Default 0. */
  readonly pauseMs?: number;
}

/** Commits one small row after the other, as fast as possible. */
export interface BusyJob {
  readonly database: string;
  readonly durationMs: number;
}

export interface BusyResult {
  readonly commits: number;
  readonly commitsPerSecond: number;
  /** From BEGIN to the return of COMMIT. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const fillEntry = fileURLToPath(new URL("./fill-main.ts", import.meta.url));
const busyEntry = fileURLToPath(new URL("./busy-main.ts", import.meta.url));

/** Runs the job in a process of its own, as an application is one. Resolves when it has ended. */
export async function fill(job: FillJob): Promise<void> {
  await runTypeScriptChild(fillEntry, { arguments: [JSON.stringify(job)] });
}

/** Runs the job in a process of its own, which has created its table before it measures. */
export async function writeBusily(job: BusyJob): Promise<BusyResult> {
  const exit = await runTypeScriptChild(busyEntry, { arguments: [JSON.stringify(job)] });
  return JSON.parse(exit.stdout) as BusyResult;
}
