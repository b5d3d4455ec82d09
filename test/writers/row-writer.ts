import { fileURLToPath } from "node:url";
import { startTypeScriptChild } from "@vaultwarden-stream/testkit";

export type WriterRequest =
  /** Commits every so many milliseconds until the next request. */
  | { readonly type: "go-on"; readonly everyMs: number }
  /** Commits so many times, and then no more. */
  | { readonly type: "write"; readonly commits: number }
  /** Closes the database. */
  | { readonly type: "stop" };

export type WriterReport =
  | { readonly type: "ready"; readonly labels: readonly string[] }
  | { readonly type: "committed"; readonly label: string }
  | { readonly type: "paused" };

export interface RowWriter {
  /** What the database held when it was opened. */
  readonly labels: readonly string[];
  goOn(everyMs: number): void;
  /** Resolves when so many commits have returned, and no other will follow. With 0 it is a pause. */
  write(commits: number): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const entry = fileURLToPath(new URL("./writer-main.ts", import.meta.url));

/** @param name - what its labels begin with: each life of a writer needs another one. */
export async function startRowWriter(
  database: string,
  name: string,
  onCommit: (label: string) => void,
): Promise<RowWriter> {
  const child = startTypeScriptChild(entry, {
    ipc: true,
    arguments: [database, name],
  });
  const ready = Promise.withResolvers<readonly string[]>();
  let paused = Promise.withResolvers<void>();
  child.process.on("message", (message) => {
    const report = message as WriterReport;
    if (report.type === "ready") ready.resolve(report.labels);
    else if (report.type === "paused") paused.resolve();
    else onCommit(report.label);
  });
  void child.exited.then(({ signal, code, stderr }) => {
    const error = new Error(`the writer ${name} ended by ${signal ?? code}: ${stderr}`);
    ready.reject(error);
    paused.promise.catch(() => {});
    paused.reject(error);
  });
  const send = (request: WriterRequest): void => void child.process.send(request, () => {});
  return {
    labels: await ready.promise,
    goOn: (everyMs) => send({ type: "go-on", everyMs }),
    write: (commits) => {
      paused = Promise.withResolvers();
      send({ type: "write", commits });
      return paused.promise;
    },
    stop: async () => {
      send({ type: "stop" });
      await child.exited;
    },
    kill: async () => {
      child.process.kill("SIGKILL");
      await child.exited;
    },
  };
}
