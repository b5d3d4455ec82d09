import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Stock's own words, where it gives an error. */
export interface StockFailure {
  readonly error: string;
}

export interface StockTarget {
  /** 16 hex digits. */
  readonly txid?: string;
  readonly timestamp?: Date;
}

/** The command line of stock Litestream. A replica is a directory that it can read by itself: one of our timelines, or one of its own. */
export class StockLitestream {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Restores, over whatever is at the target. @returns the digest of the restored file, or stock's error. */
  async restore(
    replica: string,
    database: string,
    target: StockTarget = {},
  ): Promise<string | StockFailure> {
    for (const suffix of ["", "-wal", "-shm"]) await rm(database + suffix, { force: true });
    const outcome = await this.#run([
      "restore",
      ...toOptions(target),
      "-o",
      database,
      url(replica),
    ]);
    return typeof outcome === "string" ? hashFile(database) : outcome;
  }

  /** @returns `<level>/<file name>` of each file that a restore would take, in their order, or stock's error. */
  async plan(
    replica: string,
    database: string,
    target: StockTarget = {},
  ): Promise<readonly string[] | StockFailure> {
    const options = ["-dry-run", "-json", ...toOptions(target)];
    const outcome = await this.#run(["restore", ...options, "-o", database, url(replica)]);
    if (typeof outcome !== "string") return outcome;
    const { files } = JSON.parse(outcome) as { files: { level: number; name: string }[] };
    return files.map(({ level, name }) => `${level}/${name}`);
  }

  async #run(args: readonly string[]): Promise<string | StockFailure> {
    try {
      const { stdout } = await run(this.path, [...args], { env: stockEnvironment() });
      return stdout;
    } catch (error) {
      const { code, stderr } = error as { code?: unknown; stderr?: string };
      // A number is its exit code; anything else means that it did not run at all.
      if (typeof code !== "number" || stderr === undefined) throw error;
      return { error: stderr };
    }
  }
}

/** Without the trusted certificates of this process, which replace those of a Go program. */
export function stockEnvironment(): NodeJS.ProcessEnv {
  const { AWS_CA_BUNDLE: _, ...env } = process.env;
  return env;
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** The TXIDs (16 hex digits, ascending) at which the files of one level end. */
export async function txidsOfLevel(replica: string, level: number): Promise<string[]> {
  const names = await readdir(join(replica, "ltx", String(level))).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  return names
    .filter((name) => name.endsWith(".ltx") && !name.startsWith("."))
    .map((name) => name.slice(17, 33))
    .sort();
}

function url(replica: string): string {
  return `file://${replica}`;
}

function toOptions({ txid, timestamp }: StockTarget): string[] {
  return [
    ...(txid === undefined ? [] : ["-txid", txid]),
    ...(timestamp === undefined ? [] : ["-timestamp", timestamp.toISOString()]),
  ];
}
