import { existsSync, readFileSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { swapTrees, type TreeSwap } from "@vaultwarden-stream/file-sync";
import { finishSwap, ReplicationError, swapDatabase } from "wal-replicator";
import { syncDirectory, writeDurably } from "../durable-file.ts";

/**
 * Puts a restored vault in its place: the trees of files and the database, all of them or, after a kill, all of them at the next start.
 *
 * A marker with every name is written first. Whoever finds one carries on from it: both the swap of the trees and that of the database can be
 * repeated. The trees go first: if they cannot be moved, nothing is. What was there is moved aside, never deleted; the marker becomes the
 * record that an undo reads.
 */
export interface VaultSwap {
  readonly database: { readonly incoming: string; readonly aside: string };
  readonly trees: readonly TreePlace[];
}

/** One tree: a directory or a file. */
export type TreePlace = Omit<TreeSwap, "keep">;

/** Where tests kill the swap: what is named is done and durable. */
export type SwapPoint = "marker" | "trees" | "database" | "record";

/**
 * Nobody may use the vault. Durability point: when it resolves, the swap survives a power cut.
 *
 * @param at - told where it is.
 * @throws {FileSyncError} `ROOT_UNUSABLE` if a tree cannot be moved; then nothing has moved.
 */
export async function swapVault(
  database: string,
  swap: VaultSwap,
  at: (point: SwapPoint) => void = () => {},
): Promise<void> {
  // Of a swap that is over: the marker alone says that one is not.
  await rm(journalPath(database), { force: true });
  await writeDurably(markerPath(database), JSON.stringify({ version: 1, ...swap }), 0o600);
  at("marker");
  await execute(database, swap, at);
}

/**
 * Carries on a swap that was interrupted.
 *
 * @returns where the old database is kept, or undefined if nothing was interrupted.
 * @throws {ReplicationError} `START_REFUSED` if a marker cannot be read.
 */
export async function finishVaultSwap(database: string): Promise<string | undefined> {
  const swap = readSwap(markerPath(database));
  // Without trees, the engine's own marker says it all.
  if (swap === undefined) return finishSwap(database);
  await execute(database, swap);
  return swap.database.aside;
}

/** The trees that were moved aside together with a database; none if it was restored without files. */
export function treesAside(databaseAside: string): readonly TreePlace[] {
  return readSwap(recordPath(databaseAside))?.trees ?? [];
}

/** After an undo, there is nothing behind the record any more. */
export async function forgetTreesAside(databaseAside: string): Promise<void> {
  await rm(recordPath(databaseAside), { force: true });
}

async function execute(
  database: string,
  swap: VaultSwap,
  at: (point: SwapPoint) => void = () => {},
): Promise<void> {
  const { incoming, aside } = swap.database;
  const journal = journalPath(database);
  try {
    await swapTrees(swap.trees, { journal });
  } catch (error) {
    // Without its journal nothing has moved: then there is nothing to carry on.
    if (!existsSync(journal)) await rm(markerPath(database), { force: true });
    throw error;
  }
  at("trees");
  const isSwapped = (await finishSwap(database)) !== undefined || !existsSync(incoming);
  if (!isSwapped) await swapDatabase(database, { incoming, aside });
  at("database");
  // Without a database that was there, there is nothing that an undo could bring back.
  if (existsSync(aside)) await rename(markerPath(database), recordPath(aside));
  else await rm(markerPath(database));
  await syncDirectory(dirname(database));
  at("record");
  await rm(journal, { force: true });
}

/** Written by rename: if it is there it is whole, and one of another version must not be guessed at. */
function readSwap(path: string): VaultSwap | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const swap = parseSwap(text);
  if (swap !== undefined) return swap;
  throw new ReplicationError(
    "START_REFUSED",
    `${path} says that a restore was interrupted, and cannot be read`,
    "A later version may have written it: use that one. Else look at what lies beside the database before deleting it.",
  );
}

function parseSwap(text: string): VaultSwap | undefined {
  try {
    const { version, database, trees } = JSON.parse(text) as VaultSwap & { version?: unknown };
    const isWhole =
      version === 1 &&
      isPath(database.incoming) &&
      isPath(database.aside) &&
      trees.every(({ live, incoming = "/", aside }) => [live, incoming, aside].every(isPath));
    return isWhole ? { database, trees } : undefined;
  } catch {
    return undefined; // not JSON, or without its parts
  }
}

function isPath(value: unknown): boolean {
  return typeof value === "string" && value.startsWith("/");
}

function markerPath(database: string): string {
  return join(dirname(database), `.${basename(database)}-restore.json`);
}

function journalPath(database: string): string {
  return join(dirname(database), `.${basename(database)}-restore-trees.json`);
}

function recordPath(databaseAside: string): string {
  return `${databaseAside}.trees.json`;
}
