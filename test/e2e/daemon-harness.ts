import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  login,
  registerAndLogin,
  type S3Server,
  standInEntry,
  type VaultClient,
} from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";

/** Real daemons over real servers (the stand-in), in a directory of their own: what a person would type, and what they would see. */
const condition = "--conditions=@vaultwarden-stream/source";
const mainEntry = fileURLToPath(
  new URL("../../apps/vaultwarden-stream/src/main.ts", import.meta.url),
);
export const startEntry: string = fileURLToPath(
  new URL("../../apps/vaultwarden-stream/src/start.ts", import.meta.url),
);
const clockEntry = new URL("jumping-clock.ts", import.meta.url).href;
export const account = { email: "ann@example.org", password: "correct horse battery staple" };

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the status file says, as far as the tests look. */
export interface StatusLine {
  readonly status: string;
  readonly daemon: { readonly pid: number };
  readonly server: { readonly pid: number } | null;
  readonly timeline: string | null;
  readonly storedAsOf: string | null;
  readonly waitingFiles: number;
  readonly epoch: number | null;
  readonly waitingFor: { readonly epoch: number; readonly pid: number } | null;
  readonly fencedBy: { readonly epoch: number; readonly pid: number } | null;
  readonly failure: { readonly code: string } | null;
  readonly files: {
    readonly state: string;
    readonly files: number;
    readonly storedAsOf: string | null;
    readonly lastLook: string | null;
    readonly problems: readonly unknown[];
  } | null;
}

type Settings = Readonly<Record<string, string>>;

/** The settings of a store on a server of the testkit, instead of a directory. */
export function s3Settings({ bucket, endpoint, region, credentials }: S3Server): Settings {
  return {
    STORE_DIR: "",
    S3_BUCKET: bucket,
    S3_ENDPOINT: endpoint,
    S3_REGION: region,
    S3_PREFIX: "vault",
    S3_ACCESS_KEY_ID: credentials.accessKeyId,
    S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
}

/** A place for volumes and a store, removed with everything that still runs there. */
export class Site implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "daemon-"));
  readonly store: string = join(this.directory, "store");
  readonly #processes: ChildProcess[] = [];
  readonly #serverBin: string;
  readonly #settings: Settings;

  /** @param settings - of every daemon and command; by default the store is a directory. */
  constructor(settings: Settings = {}) {
    this.#settings = settings;
    this.#serverBin = this.script(
      "vaultwarden",
      `exec "${process.execPath}" ${condition} "${standInEntry}" "$@"`,
    );
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** An executable of its own making, for a server that misbehaves. */
  script(name: string, body: string): string {
    const path = this.path(name);
    writeFileSync(path, `#!/bin/sh\n${body}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Starts `vaultwarden-stream run` on the volume, with a clock that a test can let jump. */
  async run(volume: string, env: Settings = {}, ...flags: readonly string[]): Promise<Daemon> {
    const port = await freePort();
    const child = this.#spawn(["--import", clockEntry, mainEntry, "run", ...flags], volume, {
      ROCKET_PORT: String(port),
      ...env,
    });
    return new Daemon(child, volume, `http://127.0.0.1:${port}`);
  }

  /** Runs another command of the executable to its end. */
  command(volume: string, ...words: readonly string[]): Promise<Finished> {
    return finished(this.#spawn([mainEntry, ...words], volume, {}));
  }

  /** Starts another entry, leading a process group of its own as under a shell. */
  spawnEntry(entry: string, volume: string, env: Readonly<Record<string, string>>): ChildProcess {
    return this.#spawn([entry], volume, env);
  }

  #spawn(
    words: readonly string[],
    volume: string,
    env: Readonly<Record<string, string | undefined>>,
  ): ChildProcess {
    const child = spawn(process.execPath, [condition, ...words], {
      cwd: this.directory,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: {
        PATH: process.env["PATH"],
        I_REALLY_WANT_VOLATILE_STORAGE: "true",
        DATA_FOLDER: this.path(volume),
        STORE_DIR: this.store,
        STATUS_LISTEN: "127.0.0.1:0",
        // How soon a look proves that no file has changed.
        PRIMARY_SYNC_INTERVAL: "1",
        VAULTWARDEN_BIN: this.#serverBin,
        ...this.#settings,
        ...env,
      },
    });
    this.#processes.push(child);
    return child;
  }

  /** Every row of every table, of a database that nobody writes. */
  rows(volume: string): Record<string, unknown[]> {
    return readRows(join(this.path(volume), "db.sqlite3"));
  }

  status(volume: string): StatusLine | undefined {
    return readStatus(this.path(volume));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    }
    for (const name of readdirSync(this.directory)) {
      const server = readStatus(this.path(name))?.server;
      if (server) killIfRunning(server.pid);
    }
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

export class Daemon {
  readonly process: ChildProcess;
  readonly url: string;
  readonly finished: Promise<Finished>;
  readonly #volume: string;
  #stderr = "";

  constructor(child: ChildProcess, volume: string, url: string) {
    this.process = child;
    this.url = url;
    this.#volume = volume;
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.finished = finished(child);
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Waits for a line of the log. @throws {Error} with the whole log, if the daemon ends before. */
  async logged(text: string): Promise<void> {
    await until(
      `the log of ${this.#volume} says "${text}"`,
      () => {
        if (this.#stderr.includes(text)) return true;
        if (this.process.exitCode !== null)
          throw new Error(`the daemon has ended:\n${this.#stderr}`);
        return false;
      },
      () => this.#stderr,
    );
  }

  ready(): Promise<void> {
    return this.logged("the vault listens on");
  }

  /** For a start that has to be refused. @throws {Error} with the whole log, if the vault comes up instead. */
  async refused(): Promise<Finished> {
    const started = this.ready().then(() => "started" as const);
    started.catch(() => {}); // it ended, as it should
    const end = await Promise.race([this.finished, started]);
    if (end === "started") throw new Error(`the vault was started:\n${this.#stderr}`);
    return end;
  }

  async register(): Promise<VaultClient> {
    await this.ready();
    return registerAndLogin({ url: this.url, ...account });
  }

  async login(): Promise<VaultClient> {
    await this.ready();
    return login({ url: this.url, ...account });
  }

  /** As if the machine had slept for ten minutes. */
  async jumpClock(): Promise<void> {
    this.process.kill("SIGUSR2");
    await this.logged("[clock] jumped");
  }

  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<Finished> {
    this.process.kill(signal);
    return this.finished;
  }
}

/** Whether a process runs. A zombie that nobody has reaped yet is no more alive than one that is gone. */
export function isAlive(pid: number): boolean {
  return (
    existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  );
}

/** Creates items, and returns the ids that the server acknowledged. */
export async function createItems(
  client: VaultClient,
  names: readonly string[],
): Promise<string[]> {
  const ids: string[] = [];
  for (const name of names) ids.push(await client.createItem({ name }));
  return ids;
}

export async function itemNames(client: VaultClient): Promise<string[]> {
  return (await client.listItems()).map(({ name }) => name);
}

/** Ids of the items in a database, as `createItems` returns them. */
export function itemIds(rows: Record<string, unknown[]>): string[] {
  return (rows["ciphers"] ?? []).map((row) => String((row as { uuid: unknown }).uuid)).sort();
}

/** Waits until the daemon says that everything written before now is stored. */
export async function untilStored(site: Site, volume: string): Promise<void> {
  const nowMs = Date.now();
  await until(`everything of ${volume} is stored`, () => {
    const storedAsOf = site.status(volume)?.storedAsOf;
    return typeof storedAsOf === "string" && Date.parse(storedAsOf) > nowMs;
  });
}

/** Waits until the daemon has looked at the files and says that all of them, as they are now, are stored. */
export async function untilFilesStored(site: Site, volume: string): Promise<void> {
  const nowMs = Date.now();
  await until(
    `the files of ${volume} are stored`,
    () => Date.parse(site.status(volume)?.files?.storedAsOf ?? "") > nowMs,
    () => JSON.stringify(site.status(volume)?.files),
  );
}

export async function until(
  what: string,
  isSo: () => boolean,
  details: () => string = () => "",
): Promise<void> {
  for (const endMs = Date.now() + 30_000; Date.now() < endMs; await sleep(30)) {
    if (isSo()) return;
  }
  throw new Error(`still waiting after 30 s: ${what}\n${details()}`);
}

export function killIfRunning(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

export function finished(child: ChildProcess): Promise<Finished> {
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
  return new Promise((resolve) => {
    // Not "close": a server that outlives its daemon keeps the pipes open.
    child.once("exit", (code, signal) => {
      setImmediate(() =>
        resolve({
          code,
          signal,
          stdout: Buffer.concat(stdout).toString(),
          stderr: Buffer.concat(stderr).toString(),
        }),
      );
    });
  });
}

function readRows(path: string): Record<string, unknown[]> {
  const database = new Database(path, { readonly: true, fileMustExist: true });
  try {
    const tables = database
      .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
      .pluck()
      .all();
    return Object.fromEntries(
      tables.map((name) => [name, sortRows(database.prepare(`SELECT * FROM "${name}"`).all())]),
    );
  } finally {
    database.close();
  }
}

function sortRows(rows: unknown[]): unknown[] {
  const keyed = rows.map((row) => [JSON.stringify(row), row] as const);
  return keyed.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

function readStatus(volume: string): StatusLine | undefined {
  const path = join(volume, ".db.sqlite3-stream", "status.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as StatusLine) : undefined;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
