import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readStatusFile } from "../daemon/status-file.ts";
import { findFreePort } from "../free-port.ts";

/** A real daemon as a child process: what `pnpm start` runs, on paths of the demo. */
export interface DemoPaths {
  readonly store: string;
  readonly vault: string;
}

const waitMsMax = 30_000;

export class DemoDaemon {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #database: string;
  readonly #exited: Promise<number | null>;
  #log = "";

  private constructor(child: ChildProcess, url: string, paths: DemoPaths) {
    this.#child = child;
    this.url = url;
    this.#database = join(paths.vault, "db.sqlite3");
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#log += chunk.toString();
    });
    this.#exited = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  }

  static async start(paths: DemoPaths): Promise<DemoDaemon> {
    const port = await findFreePort(0);
    const child = runEntry("start.ts", [], paths, { ROCKET_PORT: String(port) });
    // What the vault says is not the demo's to show, and a full pipe would stop it.
    child.stdout?.resume();
    return new DemoDaemon(child, `http://127.0.0.1:${port}`, paths);
  }

  ready(): Promise<void> {
    return this.#until("the vault answers", () => this.#log.includes("the vault listens on"));
  }

  /** Waits until the daemon's status says that every commit made before now is in the store, and every file. */
  untilStored(): Promise<void> {
    const nowMs = Date.now();
    return this.#until("everything is stored", () => {
      const { storedAsOf = null, files } = readStatusFile(this.#database) ?? {};
      return isLater(storedAsOf, nowMs) && isLater(files?.storedAsOf ?? null, nowMs);
    });
  }

  timeline(): string | null {
    return readStatusFile(this.#database)?.timeline ?? null;
  }

  /** A clean end. @returns the exit code. */
  end(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    return this.#exited;
  }

  /** SIGKILL of the daemon and of its server, at once. Does nothing if they have ended. */
  async killEverything(): Promise<void> {
    const isRunning = this.#child.exitCode === null && this.#child.signalCode === null;
    if (!isRunning) return;
    const server = readStatusFile(this.#database)?.server;
    this.#child.kill("SIGKILL");
    if (server) process.kill(server.pid, "SIGKILL");
    await this.#exited;
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    for (const endMs = performance.now() + waitMsMax; performance.now() < endMs; await sleep(20)) {
      if (isSo()) return;
      if (this.#child.exitCode !== null) break;
    }
    throw new Error(`waited in vain until ${what}; the daemon said:\n${this.#log}`);
  }
}

function isLater(time: string | null, thanMs: number): boolean {
  return time !== null && Date.parse(time) > thanMs;
}

/** Runs the `restore` command. @returns what it printed. @throws {Error} with what it said, if it failed. */
export async function restoreTo(paths: DemoPaths, target: string, at?: string): Promise<string> {
  const child = runEntry(
    "main.ts",
    ["restore", "--to", target, ...(at === undefined ? [] : ["--at", at])],
    paths,
    {},
  );
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`restore ended with exit code ${code}: ${stderr}`);
  return stdout.trim();
}

function runEntry(
  entry: string,
  words: readonly string[],
  paths: DemoPaths,
  environment: Readonly<Record<string, string>>,
): ChildProcess {
  return spawn(
    process.execPath,
    [
      "--conditions=@vaultwarden-stream/source",
      fileURLToPath(new URL(`../${entry}`, import.meta.url)),
      ...words,
    ],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        VAULTWARDEN_BIN: process.env["VAULTWARDEN_BIN"],
        DATA_FOLDER: paths.vault,
        STORE_DIR: paths.store,
        I_REALLY_WANT_VOLATILE_STORAGE: "true",
        WEB_VAULT_ENABLED: "false",
        STATUS_LISTEN: "127.0.0.1:0",
        // Changes are seen at once; this is how soon a look proves that there are none.
        PRIMARY_SYNC_INTERVAL: "1",
        ...environment,
      },
    },
  );
}
