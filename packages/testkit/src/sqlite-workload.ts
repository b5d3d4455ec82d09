/**
 * Writers that are processes of their own, as an application is: their locks, their WAL index and their sudden death are real.
 */
import { fileURLToPath } from "node:url";
import { type ChildExit, runTypeScriptChild, startTypeScriptChild } from "./child-process.ts";
import { defaultWorkloadName, type StatementKind } from "./workload-plan.ts";

export interface WorkloadOptions {
  /** Created if missing; else the workload goes on behind its newest commit. */
  readonly databasePath: string;
  /** What the names of its tables begin with: writers of one database need different ones. Default `workload`. */
  readonly name?: string;
  readonly seed: number;
  /** Bytes, a power of two from 512 to 65536; only for a new database. Default 4096. */
  readonly pageSize?: number;
  /** Only for a new database. Default `none`. */
  readonly autoVacuum?: "none" | "full" | "incremental";
  /** Weights of the kinds of steps; kinds that are not named do not happen. Default: all of them, mostly small changes. */
  readonly statements?: Readonly<Partial<Record<StatementKind, number>>>;
  /** Default 500. */
  readonly rowBytesMax?: number;
  /** Default 20,000: up to five pages of 4096 bytes. */
  readonly blobBytesMax?: number;
  /** Default 5. */
  readonly rowsPerTransactionMax?: number;
  /** Steps are begun at this rate. Without it, as fast as possible. */
  readonly stepsPerSecond?: number;
  /** Frames; `random` draws 0 … 1000 anew now and then. Default: SQLite's 1,000. */
  readonly walAutocheckpoint?: number | "random";
  /** After so many commits of this life it pauses by itself. */
  readonly commitsMax?: number;
  /** Starts paused: `ready`, the database created, but no commit made. */
  readonly paused?: boolean;
  /** Called for each acknowledged commit, in order. */
  readonly onCommit?: (commit: WorkloadCommit) => void;
}

export interface WorkloadCommit {
  /** The id in `workload_log`, from 1 without gaps. */
  readonly id: number;
  /** Milliseconds since 1970, with fractions: when the commit had returned to the writer. */
  readonly atMs: number;
  /** How long the transaction took, from BEGIN to the return of COMMIT. */
  readonly durationMs: number;
}

export interface Workload {
  readonly pid: number;
  /** The newest commit that was acknowledged to this process. After a kill the database may hold more, never less. */
  readonly committed: number;
  /** How many steps failed because somebody held a lock for more than five seconds, and were given up. */
  readonly busyCount: number;
  /** Resolves, with the id of the newest commit, when no transaction is open and none will begin. */
  pause(): Promise<number>;
  resume(): void;
  /** Resolves, with the id of the newest commit, when the workload has paused by itself after `commitsMax` commits. */
  readonly finished: Promise<number>;
  /** Commits one transaction of at least so many bytes, between two other steps or while paused. Resolves with its commit id. */
  bigTransaction(bytes: number): Promise<number>;
  /** Ends the process after the current step, by closing the database: the last one to close it removes the WAL. Resolves with the newest commit id. */
  stop(): Promise<number>;
  /** Ends the process at once. Resolves when it is gone. Default SIGKILL. */
  kill(signal?: NodeJS.Signals): Promise<ChildExit>;
  readonly exited: Promise<ChildExit>;
}

/** What a database that a workload wrote says of itself. */
export interface WorkloadCheck {
  /** 0 if it holds no commit. */
  readonly lastCommitId: number;
  readonly rowCount: number;
  /** Empty if the database is what the workload wrote up to `lastCommitId`: `integrity_check`, the digest of each row, the log without gaps, the digest of all rows. */
  readonly problems: readonly string[];
}

export type WorkloadRequest =
  | { readonly type: "pause" | "resume" | "stop" }
  | { readonly type: "big-transaction"; readonly bytes: number };

export type WorkloadReport =
  | ({ readonly type: "commit" } & WorkloadCommit)
  | { readonly type: "busy"; readonly kind: string; readonly message: string }
  | {
      readonly type: "ready" | "paused" | "stopped" | "finished" | "big-transaction-done";
      readonly lastCommitId: number;
    };

const entry = fileURLToPath(new URL("./workload-main.ts", import.meta.url));

/**
 * Starts a writer that uses better-sqlite3, in a child process. It ends by itself if this process dies.
 *
 * @throws {Error} with the child's output, if it cannot open or create the database.
 */
export async function startWorkload(options: WorkloadOptions): Promise<Workload> {
  const { onCommit, ...childOptions } = options;
  const child = startTypeScriptChild(entry, {
    arguments: ["run", JSON.stringify(childOptions)],
    ipc: true,
  });
  let committed = 0;
  let busyCount = 0;
  type WaitedReport = "ready" | "paused" | "stopped" | "finished" | "big-transaction-done";
  const waiting = new Map<WaitedReport, ((lastCommitId: number) => void)[]>();

  child.process.on("message", (message) => {
    const report = message as WorkloadReport;
    if (report.type === "commit") {
      committed = report.id;
      onCommit?.({ id: report.id, atMs: report.atMs, durationMs: report.durationMs });
    } else if (report.type === "busy") {
      busyCount += 1;
    } else {
      committed = report.lastCommitId;
      const resolves = waiting.get(report.type) ?? [];
      waiting.delete(report.type);
      for (const resolve of resolves) resolve(report.lastCommitId);
    }
  });

  function next(type: WaitedReport): Promise<number> {
    const report = new Promise<number>((resolve) => {
      waiting.set(type, [...(waiting.get(type) ?? []), resolve]);
    });
    const death = child.exited.then((exit) => {
      throw new Error(
        `the workload ended (${exit.signal ?? `code ${exit.code}`}) before it was ${type}: ${exit.stderr}`,
      );
    });
    return Promise.race([report, death]);
  }

  function request(message: WorkloadRequest): void {
    // A failure to send is a death, which `next` reports with the child's own words.
    child.process.send(message, () => {});
  }

  const finished = next("finished");
  // Whoever waits for it sees the rejection; whoever kills the workload instead does not have to.
  finished.catch(() => {});
  await next("ready");

  return {
    pid: child.pid,
    exited: child.exited,
    finished,
    get committed() {
      return committed;
    },
    get busyCount() {
      return busyCount;
    },
    pause() {
      const paused = next("paused");
      request({ type: "pause" });
      return paused;
    },
    resume() {
      request({ type: "resume" });
    },
    bigTransaction(bytes) {
      const done = next("big-transaction-done");
      request({ type: "big-transaction", bytes });
      return done;
    },
    async stop() {
      const stopped = next("stopped");
      request({ type: "stop" });
      const lastCommitId = await stopped;
      await child.exited;
      return lastCommitId;
    },
    kill(signal = "SIGKILL") {
      child.process.kill(signal);
      return child.exited;
    },
  };
}

/**
 * Verifies a database that a workload wrote, live or restored, in a child process and on a copy, so that it is left as it is.
 *
 * @param name - as in the options of the workload, where a database has several.
 * @throws {Error} with SQLite's message, if it cannot be read at all.
 */
export async function checkWorkloadDatabase(
  databasePath: string,
  name: string = defaultWorkloadName,
): Promise<WorkloadCheck> {
  const exit = await runTypeScriptChild(entry, { arguments: ["check", databasePath, name] });
  return JSON.parse(exit.stdout) as WorkloadCheck;
}
