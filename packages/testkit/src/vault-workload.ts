/**
 * A client of a vault that is a process of its own, and outlives the death of the server: it makes items, attachments and Sends, changes,
 * replaces and deletes them, and writes down what it was told.
 */
import { fileURLToPath } from "node:url";
import { type ChildExit, startTypeScriptChild } from "./child-process.ts";
import type { VaultAccount } from "./vault-client.ts";

export interface VaultWorkloadOptions {
  /** Registered if it cannot be logged into. Several workloads of one vault need several accounts. */
  readonly account: VaultAccount;
  /** JSONL of `VaultRecord`, created if missing, else continued: one file for all lives of an account. */
  readonly recordsPath: string;
  readonly seed: number;
  /** Most bytes of a file before it is encrypted. Default 50,000. */
  readonly fileBytesMax?: number;
  /** Milliseconds between two operations. Default 0. */
  readonly pauseMs?: number;
}

export interface VaultWorkloadEnd {
  /** `unreachable`: the server took no more connections, or cut one. What was under way is unsettled. */
  readonly reason: "stopped" | "unreachable";
  /** Answers that were no success, in words. In a healthy vault there are none. */
  readonly refusals: readonly string[];
}

export interface VaultWorkload {
  readonly pid: number;
  /** How many operations of this life were acknowledged. */
  readonly acknowledged: number;
  /** How many were refused. */
  readonly refused: number;
  /** Resolves as soon as so many operations of this life were acknowledged. @throws {Error} if it ends before. */
  untilAcknowledged(count: number): Promise<void>;
  /** Ends it after the current operation. */
  stop(): Promise<VaultWorkloadEnd>;
  /** Resolves when it has ended, by itself or because it was told to. @throws {Error} with its output, if it failed or was killed. */
  readonly ended: Promise<VaultWorkloadEnd>;
  kill(): Promise<ChildExit>;
}

export type VaultWorkloadReport =
  | { readonly type: "ready" }
  | { readonly type: "progress"; readonly acknowledged: number }
  | { readonly type: "refused"; readonly message: string }
  | { readonly type: "ended"; readonly reason: VaultWorkloadEnd["reason"] };

const entry = fileURLToPath(new URL("./vault-workload-main.ts", import.meta.url));

/**
 * Starts a workload, and resolves once it is logged in and has taken the vault as it is.
 *
 * After a restore it goes on with what the vault has, and writes down what that is: check the restored vault against the records first.
 *
 * @throws {Error} with its output, if it cannot log in or register.
 */
export async function startVaultWorkload(options: VaultWorkloadOptions): Promise<VaultWorkload> {
  const child = startTypeScriptChild(entry, {
    arguments: ["run", JSON.stringify(options)],
    ipc: true,
  });
  let acknowledged = 0;
  let reason: VaultWorkloadEnd["reason"] | undefined;
  const refusals: string[] = [];
  const ended = child.exited.then((exit): VaultWorkloadEnd => {
    if (reason !== undefined) return { reason, refusals };
    throw new Error(
      `the vault workload ended with ${exit.signal ?? `code ${exit.code}`}: ${exit.stderr}`,
    );
  });
  ended.catch(() => {}); // for who does not wait for it

  /** Resolves when a report makes it so. */
  function until(isSo: (report: VaultWorkloadReport) => boolean): Promise<void> {
    const reported = new Promise<void>((resolve) => {
      child.process.on("message", (message) => {
        if (isSo(message as VaultWorkloadReport)) resolve();
      });
    });
    const over = ended.then((end): never => {
      throw new Error(`the vault workload ended before: ${end.reason}`);
    });
    return Promise.race([reported, over]);
  }

  child.process.on("message", (message) => {
    const report = message as VaultWorkloadReport;
    if (report.type === "progress") acknowledged = report.acknowledged;
    else if (report.type === "refused") refusals.push(report.message);
    else if (report.type === "ended") reason = report.reason;
  });
  await until(({ type }) => type === "ready");

  return {
    pid: child.pid,
    ended,
    get acknowledged() {
      return acknowledged;
    },
    get refused() {
      return refusals.length;
    },
    async untilAcknowledged(count) {
      if (acknowledged < count) await until(() => acknowledged >= count);
    },
    stop() {
      child.process.send("stop", () => {});
      return ended;
    },
    kill() {
      child.process.kill("SIGKILL");
      return child.exited;
    },
  };
}
