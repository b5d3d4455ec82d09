import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/**
 * The files in a directory that somebody is writing (`*.tmp`) with their sizes, as one text: it is another one as long as they get on.
 * A directory that is not there has none.
 */
export function unfinishedFiles(directory: string): string {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
  return names
    .filter((name) => name.endsWith(".tmp"))
    .map((name) => `${name}:${statSync(join(directory, name), { throwIfNoEntry: false })?.size}`)
    .join(" ");
}
