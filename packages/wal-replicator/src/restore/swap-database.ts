import { readdirSync, readFileSync, rmSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { syncDirectory, writeWhole } from "../durable-file.ts";
import { ReplicationError } from "../errors.ts";
import { spoolDirectory } from "../ship/spool.ts";

/**
 * Replaces a database by another one beside it, and keeps what was there.
 *
 * A database is three things that belong together: the file, its `-wal`, and the engine's spool, which says where in the stream it
 * stands. They move together or not at all: a marker is written first, with both names, and whoever finds one carries on from it.
 * A kill anywhere leaves the old or the new database after the next `finishSwap`, never a mix, and neither is ever deleted.
 *
 * Nobody may have the database open.
 */
interface SwapMarker {
  readonly version: 1;
  /** `out`: the old one is moving to `aside`; `in`: it has moved, the new one is moving from `incoming`. */
  readonly phase: "out" | "in";
  readonly incoming: string;
  readonly aside: string;
}

/** Where a restore builds: beside the database, so that renaming is enough. */
export function incomingPath(database: string): string {
  return `${database}.incoming`;
}

/** Where the database that is there would be kept: `db.sqlite3.aside-20261124T215421123Z`. */
export function asidePath(database: string, now: Date): string {
  return `${database}.aside-${now.toISOString().replace(/[-:.]/g, "")}`;
}

/** What was kept, newest first: paths that `sqlite3` opens as they are. */
export function listAside(database: string): readonly string[] {
  const prefix = `${basename(database)}.aside-`;
  try {
    return readdirSync(dirname(database))
      .filter(
        (entry) => entry.startsWith(prefix) && /^\d{8}T\d{9}Z$/.test(entry.slice(prefix.length)),
      )
      .sort()
      .reverse()
      .map((entry) => join(dirname(database), entry));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Durability point: when it resolves, the swap survives a power cut. */
export async function swapDatabase(
  database: string,
  names: { readonly incoming: string; readonly aside: string },
): Promise<void> {
  await execute(database, { version: 1, phase: "out", ...names });
}

/**
 * Carries on a swap that was interrupted.
 *
 * @returns where the old database is kept, or undefined if no swap was interrupted.
 */
export async function finishSwap(database: string): Promise<string | undefined> {
  let text: string;
  try {
    text = readFileSync(markerPath(database), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const marker = parseMarker(text, markerPath(database));
  await execute(database, marker);
  return marker.aside;
}

/** Removes what an interrupted restore left before it got to its swap. */
export function discardIncoming(database: string): void {
  const incoming = basename(incomingPath(database));
  let entries: readonly string[];
  try {
    entries = readdirSync(dirname(database));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  for (const entry of entries) {
    if (
      entry === incoming ||
      entry.startsWith(`${incoming}.`) ||
      entry.startsWith(`${incoming}-`)
    ) {
      rmSync(join(dirname(database), entry), { force: true });
    }
  }
  rmSync(spoolDirectory(incomingPath(database)), { recursive: true, force: true });
}

async function execute(database: string, marker: SwapMarker): Promise<void> {
  if (marker.phase === "out") {
    await writeWhole(markerPath(database), [JSON.stringify(marker)]);
    await moveParts(database, marker.aside);
    // An index of the old WAL: SQLite makes a new one, and would believe this one.
    await rm(`${database}-shm`, { force: true });
    await writeWhole(markerPath(database), [JSON.stringify({ ...marker, phase: "in" })]);
  }
  await moveParts(marker.incoming, database);
  await syncDirectory(dirname(database));
  await rm(markerPath(database), { force: true });
  await syncDirectory(dirname(database));
}

/** Written by rename: if it is there it is whole, and one of another version must not be guessed at. */
function parseMarker(text: string, path: string): SwapMarker {
  try {
    const { version, phase, incoming, aside } = JSON.parse(text) as Record<string, unknown>;
    if (
      version === 1 &&
      (phase === "out" || phase === "in") &&
      typeof incoming === "string" &&
      typeof aside === "string"
    ) {
      return { version, phase, incoming, aside };
    }
  } catch {
    // Not JSON: no marker of ours.
  }
  throw new ReplicationError(
    "START_REFUSED",
    `${path} says that a restore was interrupted, and cannot be read`,
    "A later version may have written it: use that one. Else look at what lies beside the database before deleting it.",
  );
}

/** The file last: where there is a database, its companions are there too. */
async function moveParts(from: string, to: string): Promise<void> {
  await renameIfExists(spoolDirectory(from), spoolDirectory(to));
  await renameIfExists(`${from}-wal`, `${to}-wal`);
  await renameIfExists(from, to);
  await syncDirectory(dirname(to));
}

async function renameIfExists(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function markerPath(database: string): string {
  return join(dirname(database), `.${basename(database)}-swap.json`);
}
