import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { CommandError, exitCodes } from "wal-replicator/command-line";
import type { Environment } from "../config/config.ts";

/** The server to start. */
export interface ChildCommand {
  readonly command: string;
  readonly arguments: readonly string[];
  /** For people: what it is. */
  readonly description: string;
}

/**
 * `VAULTWARDEN_BIN`, else a `vaultwarden` in the PATH, else `standIn`.
 *
 * @throws {CommandError} `SERVER_MISSING` if there is none of them, or if what VAULTWARDEN_BIN names cannot be executed.
 */
export function findChildCommand(
  vaultwardenBin: string | undefined,
  environment: Environment,
  standIn: ChildCommand | undefined,
): ChildCommand {
  if (vaultwardenBin !== undefined) {
    const command = resolve(vaultwardenBin);
    if (isExecutable(command)) return { command, arguments: [], description: command };
    throw serverMissing(`VAULTWARDEN_BIN names ${command}, and no such file can be executed`);
  }
  for (const directory of (environment["PATH"] ?? "").split(delimiter)) {
    const command = join(directory, "vaultwarden");
    if (directory !== "" && isExecutable(command)) {
      return { command, arguments: [], description: command };
    }
  }
  if (standIn !== undefined) return standIn;
  throw serverMissing("there is no `vaultwarden` in the PATH");
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // not there, or not ours to run: either way it is not the server
  }
}

function serverMissing(why: string): CommandError {
  return new CommandError(
    "SERVER_MISSING",
    {
      what: "there is no server to start",
      why,
      next: "install Vaultwarden, or set VAULTWARDEN_BIN=<path of the executable>",
    },
    { exitCode: exitCodes.usage },
  );
}
