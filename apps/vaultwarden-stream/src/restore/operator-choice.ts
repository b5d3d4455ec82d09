import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateDirectory } from "../daemon/status-file.ts";

/**
 * The mark that somebody has chosen the database that lies here, although the store has a newer history: `restore --undo` sets it, and
 * the next start that gets its stream going removes it. Without it such a database would be taken for an old volume.
 */
export function markChosen(database: string): void {
  mkdirSync(stateDirectory(database), { recursive: true, mode: 0o700 });
  writeFileSync(chosenPath(database), "");
}

export function isChosen(database: string): boolean {
  return existsSync(chosenPath(database));
}

export function forgetChoice(database: string): void {
  rmSync(chosenPath(database), { force: true });
}

function chosenPath(database: string): string {
  return join(stateDirectory(database), "chosen");
}
