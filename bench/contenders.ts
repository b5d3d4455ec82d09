import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findPeer } from "@vaultwarden-stream/testkit";
import { type ProcessUsage, readProcessUsage } from "./process-usage.ts";

/** A program that streams a database into a store and restores it, driven by its command line alone. */
export interface Contender {
  readonly name: "ours" | "stock";
  readonly replicateCommand: (database: string, storeUrl: string) => readonly string[];
  /** @param replicaUrl - of what the contender itself would restore from; ours takes a path too. */
  readonly restoreCommand: (replicaUrl: string, target: string) => readonly string[];
}

/** Added to this process's own; `undefined` removes a variable. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface Contenders {
  readonly ours: Contender;
  /** For Node, before an entry of ours: what it runs from, and what the image's daemon runs with. */
  readonly nodeArguments: readonly string[];
  /** Undefined where it is not found. */
  readonly stock: Contender | undefined;
  /** Why stock is not there, or which one it is. */
  readonly stockNote: string;
  /** The program that files are compared with. Undefined where it is not found. */
  readonly rclone: string | undefined;
  readonly rcloneNote: string;
}

const sourceMain = new URL("../packages/wal-replicator/src/main.ts", import.meta.url);
const builtMain = new URL("../packages/wal-replicator/dist/main.mjs", import.meta.url);

/**
 * @param isBuilt - ours is the package as it is published; else (the default) its sources, which Node turns into JavaScript at every start.
 * @throws {Error} if there is no build.
 */
export function findContenders(isBuilt = false): Contenders {
  const nodeArguments = [
    ...conditionsOf(isBuilt),
    "--max-semi-space-size=2",
    "--heap-growing-percent=30",
  ];
  return { ours: findOurs(isBuilt), nodeArguments, ...findStock(), ...findRclone() };
}

function findOurs(isBuilt: boolean): Contender {
  const main = fileURLToPath(isBuilt ? builtMain : sourceMain);
  if (!existsSync(main)) throw new Error(`${main} is missing: run \`npx -y pnpm@12 build\` first`);
  const command = [process.execPath, ...conditionsOf(isBuilt), main];
  return {
    name: "ours",
    replicateCommand: (database, storeUrl) => [...command, "replicate", database, storeUrl],
    restoreCommand: (replicaUrl, target) => [...command, "restore", replicaUrl, "-o", target],
  };
}

function conditionsOf(isBuilt: boolean): readonly string[] {
  return isBuilt ? [] : ["--conditions=@vaultwarden-stream/source"];
}

function findRclone(): Pick<Contenders, "rclone" | "rcloneNote"> {
  const search = findPeer("rclone");
  if (!search.found) return { rclone: undefined, rcloneNote: search.reason };
  return { rclone: search.path, rcloneNote: `rclone v${search.version}` };
}

function findStock(): Pick<Contenders, "stock" | "stockNote"> {
  const search = findPeer("litestream");
  if (!search.found) return { stock: undefined, stockNote: search.reason };
  const { path, version } = search;
  const stock: Contender = {
    name: "stock",
    replicateCommand: (database, storeUrl) => [path, "replicate", database, storeUrl],
    restoreCommand: (replicaUrl, target) => [path, "restore", "-o", target, replicaUrl],
  };
  return { stock, stockNote: `Litestream v${version}` };
}

/** A contender's process. Disposing of it kills it, so that none outlives a scenario that failed. */
export interface RunningProcess extends Disposable {
  /** @throws {Error} if it has ended: then there is nothing to measure. */
  usage(): ProcessUsage;
  /** Aborted when it ends before it was told to, with what it wrote as the reason. */
  readonly ended: AbortSignal;
  /** What it wrote to stderr so far. */
  stderr(): string;
  /** Asks it to end cleanly, and waits. @throws {Error} if its exit code is not 0. */
  stop(): Promise<void>;
  /** Waits for its end. @throws {Error} if its exit code is not 0. */
  wait(): Promise<void>;
}

export function startProcess(command: readonly string[], env: Environment = {}): RunningProcess {
  const [file = "", ...args] = command;
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "pipe"],
    // Go programs replace their trusted certificates by these; nothing here speaks TLS.
    env: { ...process.env, AWS_CA_BUNDLE: undefined, ...env },
  });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("close", () => process.off("exit", kill));
  const pid = child.pid as number;
  const written: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => written.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    written.push(chunk);
    stderr.push(chunk);
  });
  const ended = new AbortController();
  const exited = waitForExit(child).then(({ code, signal }) => {
    const output = Buffer.concat(written).toString().slice(-2000);
    const failure = new Error(
      `${command.join(" ")} ended with ${signal ?? `code ${code}`}:\n${output}`,
    );
    ended.abort(failure);
    if (code !== 0) throw failure;
  });
  exited.catch(() => {});
  return {
    ended: ended.signal,
    usage() {
      const usage = readProcessUsage(pid);
      if (usage === undefined) throw ended.signal.reason ?? new Error(`process ${pid} is gone`);
      return usage;
    },
    stderr: () => Buffer.concat(stderr).toString(),
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
    wait: () => exited,
    [Symbol.dispose]: kill,
  };
}

async function waitForExit(
  child: ChildProcess,
): Promise<{ readonly code: number | null; readonly signal: string | null }> {
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  return { code, signal };
}
