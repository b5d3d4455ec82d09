import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import Database from "better-sqlite3";
import { assertSqliteVersion, networkFileSystemOf } from "wal-replicator";
import { CommandError, formatBytes } from "wal-replicator/command-line";
import type { Environment } from "../config/environment.ts";
import { findChildCommand } from "../daemon/child-command.ts";
import { childEnvironment } from "../daemon/child-environment.ts";
import { type Finding, ok } from "./finding.ts";

/** Where the database, its spool and a restore beside it lie: may we write there, is it local, is there room. */
export function diagnoseDataFolder(database: string): readonly Finding[] {
  const folder = nearestDirectory(dirname(database));
  return [
    checkWritable(folder, dirname(database)),
    checkFileSystem(folder),
    checkRoom(folder, database),
  ];
}

/** The folder may be made by the first start. */
function nearestDirectory(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestDirectory(dirname(path));
}

function checkWritable(folder: string, wanted: string): Finding {
  const check = "data folder";
  const scratch = join(folder, `.doctor-${randomBytes(8).toString("hex")}`);
  try {
    writeFileSync(scratch, "", { flag: "wx" });
  } catch (error) {
    return {
      check,
      outcome: "problem",
      message: `${folder} cannot be written to: ${(error as Error).message}`,
      remedy: "let the user that runs this own it, and mount it writable",
    };
  }
  rmSync(scratch, { force: true });
  return ok(check, folder === wanted ? `${wanted} is writable` : `${wanted} can be made`);
}

function checkFileSystem(folder: string): Finding {
  const network = networkFileSystemOf(folder);
  if (network === undefined) return ok("file system", `${folder} is on a local file system`);
  return {
    check: "file system",
    outcome: "problem",
    message: `${folder} lies on ${network}, where SQLite's locks do not work`,
    remedy: "put DATA_FOLDER on a local disk: the store is what keeps it safe",
  };
}

/** For the WAL and the spool of a small vault. */
const roomMin = 64 * 1024 * 1024;

function checkRoom(folder: string, database: string): Finding {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const size = statSync(database, { throwIfNoEntry: false })?.size ?? 0;
  // While the store is away the spool grows to about the database's size, and a restore is built beside it.
  const wanted = 2 * size + roomMin;
  const message = `${formatBytes(free)} are free in ${folder}`;
  if (free >= wanted) return ok("room", message);
  return {
    check: "room",
    outcome: free < roomMin / 4 ? "problem" : "warning",
    message: `${message}, and a long outage of the store or a restore may need ${formatBytes(wanted)}`,
    remedy: "free some space, or use a larger disk",
  };
}

export function diagnoseSqlite(): Finding {
  const memory = new Database(":memory:");
  try {
    const row = memory.prepare("SELECT sqlite_version() AS version").get() as { version: string };
    assertSqliteVersion(row.version);
    return ok("SQLite", `ours is ${row.version}`);
  } catch (error) {
    const { message, hint } = error as Error & { hint?: string };
    return { check: "SQLite", outcome: "problem", message, remedy: hint ?? "install it again" };
  } finally {
    memory.close();
  }
}

const run = promisify(execFile);
const versionTimeoutMs = 10_000;

/** Asks the server for its version; it is not started. */
export async function diagnoseServer(
  vaultwardenBin: string | undefined,
  environment: Environment,
  databaseConnInit: string,
): Promise<Finding> {
  const check = "Vaultwarden";
  let command: string;
  try {
    command = executableOf(findChildCommand(vaultwardenBin, environment, undefined).command);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return {
      check,
      outcome: "problem",
      message: `${error.what}: ${error.why}`,
      remedy: error.hint,
    };
  }
  try {
    const env = childEnvironment(environment, databaseConnInit);
    const { stdout } = await run(command, ["--version"], { env, timeout: versionTimeoutMs });
    return judgeServerVersion(command, stdout);
  } catch (error) {
    const message = `${command} does not say its version: ${(error as Error).message}`;
    return { check, outcome: "warning", message, remedy: "see whether it can be executed here" };
  }
}

/** The image's start script runs the operator's hooks before it starts the server beside it: not for a question. */
function executableOf(command: string): string {
  const beside = join(dirname(command), "vaultwarden");
  return basename(command) === "start.sh" && existsSync(beside) ? beside : command;
}

/** The first release whose SQLite (3.51.3) cannot corrupt a database that somebody else checkpoints. */
const serverVersionMin = [1, 36, 0] as const;

/** @param output - `vaultwarden 1.37.2`, or anything else. Pure. */
export function judgeServerVersion(command: string, output: string): Finding {
  const check = "Vaultwarden";
  const found = /\b(\d+)\.(\d+)\.(\d+)\b/.exec(output);
  if (found === null) {
    const message = `${command} does not say its version: ${JSON.stringify(output.slice(0, 80))}`;
    return { check, outcome: "warning", message, remedy: "see whether it is Vaultwarden" };
  }
  const [version, ...parts] = found;
  const difference = serverVersionMin
    .map((least, index) => Number(parts[index]) - least)
    .find((step) => step !== 0);
  if ((difference ?? 0) >= 0) return ok(check, `${command} is ${version}`);
  return {
    check,
    outcome: "warning",
    message: `${command} is ${version}, whose SQLite can corrupt the database when the WAL is restarted during a checkpoint`,
    remedy: "update Vaultwarden to 1.36.0 or newer",
  };
}
