import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTypeScriptChild } from "./child-process.ts";

/** A database page by page, as SQLite sees it: file and WAL together, in the newest committed state. */
export interface DatabaseImage {
  readonly pageSize: number;
  readonly pageCount: number;
  /** Hex, over all pages in order. The lock page, which SQLite never reads, counts as zeros. */
  readonly sha256: string;
}

const entry = fileURLToPath(new URL("./database-image-main.ts", import.meta.url));

/**
 * Reads what a database holds now, in constant memory, and leaves it as it is: no checkpoint, no WAL created or removed.
 *
 * It may be in use by others. All work is done by processes of their own on a copy, so that neither SQLite locks of this process nor a
 * parser of ours can have a part in the answer. A rollback-journal database works too, unless its journal is hot.
 *
 * @throws {Error} with SQLite's message, if there is no database or it cannot be opened.
 */
export async function readDatabaseImage(path: string): Promise<DatabaseImage> {
  const exit = await runTypeScriptChild(entry, { arguments: [path] });
  return JSON.parse(exit.stdout) as DatabaseImage;
}

/** The same as bytes, in a buffer that belongs to the caller: for databases that fit into memory. */
export async function readThroughSqlite(path: string): Promise<Uint8Array> {
  const directory = await mkdtemp(join(tmpdir(), "database-image-"));
  try {
    const imagePath = join(directory, "image");
    await runTypeScriptChild(entry, { arguments: [path, imagePath] });
    return new Uint8Array(await readFile(imagePath));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
