import { chmodSync, mkdirSync, readFileSync, renameSync, rmdirSync, statSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncDirectory, writeWhole } from "./durable-file.ts";
import { FileSyncError } from "./errors.ts";
import { rootUnusable } from "./file-errors.ts";
import { errnoOf } from "./scan.ts";
import {
  planMoves,
  probeName,
  type SwapMove,
  type SwapPlan,
  statIfThere,
  type TreeSwap,
} from "./swap-moves.ts";

/**
 * Trees in use are replaced by trees that were built beside them, and what was there is kept: everything moves out, then everything
 * moves in, by rename only. Nothing is ever deleted or overwritten.
 *
 * Every rename is written down in a journal before the first one is done, so that whoever finds it carries on from wherever a kill was,
 * without looking at what else may have come to lie there. Once finished it stays, as the record of what was done.
 *
 * Nobody may use the trees meanwhile.
 */
interface SwapJournal extends SwapPlan {
  readonly version: 1;
  readonly phase: "out" | "in" | "done";
}

export interface SwapOptions {
  /** Absolute path of the journal, in a directory that exists. */
  readonly journal: string;
  /** Told where the swap is, for tests that kill it there. */
  readonly at?: (point: string) => void;
}

/**
 * Durability point: when it resolves, the swap survives a power cut. Called again with the same swaps after a kill, it finishes them. With
 * `incoming` and `aside` in each other's roles it is undone.
 *
 * @throws {FileSyncError} `ROOT_UNUSABLE` and nothing has moved: something is not as it must be, or an interrupted swap of others has to be
 *   finished first. While things move, only if somebody else moves them too, or the file system fails; then `finishSwapTrees` goes on.
 */
export async function swapTrees(swaps: readonly TreeSwap[], options: SwapOptions): Promise<void> {
  const found = readJournal(options.journal);
  if (found !== undefined && isSame(found, swaps)) {
    if (found.phase !== "done") return await execute(found, options);
    // The last thing that a kill can leave undone is to tell the caller.
    if (isDone(swaps)) return;
  } else if (found !== undefined && found.phase !== "done") {
    throw new FileSyncError(
      "ROOT_UNUSABLE",
      `${options.journal} says that another swap was interrupted: ${found.swaps.map(({ live }) => live).join(", ")}`,
      "Finish that one first; nothing was moved.",
    );
  }
  const plan = planMoves(swaps, options.journal);
  for (const directory of plan.emptied) makeWritable(directory);
  for (const swap of swaps) probeMoves(swap);
  const journal: SwapJournal = { version: 1, phase: "out", ...plan };
  try {
    await execute(journal, options);
  } catch (error) {
    await takeBack(journal, options);
    throw error;
  }
}

/** Carries on a swap that was interrupted. @returns false if none was. @throws as `swapTrees`. */
export async function finishSwapTrees(options: SwapOptions): Promise<boolean> {
  const found = readJournal(options.journal);
  if (found === undefined || found.phase === "done") return false;
  await execute(found, options);
  return true;
}

async function execute(journal: SwapJournal, options: SwapOptions): Promise<void> {
  const { at } = options;
  if (journal.phase === "out") {
    await writeJournal(journal, options);
    for (const { path, mode } of journal.make) makeDirectory(path, mode | 0o700);
    await moveAll(journal.out, at);
    await writeJournal({ ...journal, phase: "in" }, options);
  }
  await moveAll(journal.in, at);
  for (const directory of journal.emptied) removeEmpty(directory);
  for (const { path, mode } of journal.make) setMode(path, mode);
  const parents = [...journal.make.map(({ path }) => path), ...journal.emptied].map(dirname);
  for (const directory of new Set(parents)) await sync(directory);
  const record = { ...journal, phase: "done", make: [], out: [], in: [], emptied: [] } as const;
  await writeJournal(record, options);
}

/** What did not all move out moves back: a single file may turn out to be a mount, which no probe tells. Later, only forward is safe. */
async function takeBack(journal: SwapJournal, { journal: path }: SwapOptions): Promise<void> {
  if (readJournal(path)?.phase !== "out") return;
  for (const { from, to, mode } of journal.out.toReversed()) {
    if (statIfThere(to) !== undefined && statIfThere(from) === undefined) rename(to, from, mode);
    if (mode !== undefined) setMode(from, mode);
  }
  for (const { path: directory } of journal.make) removeEmpty(directory);
  await unlink(path).catch(rootUnusable(path));
}

async function writeJournal(
  journal: SwapJournal,
  { journal: path, at }: SwapOptions,
): Promise<void> {
  await writeWhole(path, JSON.stringify(journal)).catch(rootUnusable(path));
  at?.(`journal-${journal.phase}`);
}

async function moveAll(
  moves: readonly SwapMove[],
  at: ((point: string) => void) | undefined,
): Promise<void> {
  for (const move of moves) {
    moveOne(move);
    at?.("moved");
  }
  const directories = new Set(moves.flatMap(({ from, to }) => [dirname(to), dirname(from)]));
  for (const directory of directories) await sync(directory);
}

/** Not again if it was done before. */
function moveOne({ from, to, mode }: SwapMove): void {
  const isThere = statIfThere(to) !== undefined;
  if (statIfThere(from) === undefined) {
    if (!isThere) throw disturbed(from, `it was to move to ${to}, and is at neither place`);
  } else {
    // rename(2) would replace a file, or an empty directory, without a word.
    if (isThere) throw disturbed(to, `${from} was to move there, and something is there already`);
    rename(from, to, mode);
  }
  if (mode !== undefined) setMode(to, mode);
}

function rename(from: string, to: string, mode: number | undefined): void {
  if (mode !== undefined) setMode(from, mode | 0o200);
  try {
    renameSync(from, to);
  } catch (error) {
    rootUnusable(`${from} (to be moved to ${to})`)(error);
  }
}

/** Moves an empty directory the ways that the trees will go, so that a mount in between is found before anything has moved. */
function probeMoves({ incoming, live, aside }: TreeSwap): void {
  const inside = (path: string): string =>
    statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? path : dirname(path);
  probeMove(inside(live), dirname(aside));
  if (incoming !== undefined) probeMove(inside(incoming), inside(live));
}

function probeMove(from: string, to: string): void {
  const probes = [join(from, probeName), join(to, probeName)] as const;
  try {
    probes.map(removeEmpty);
    mkdirSync(probes[0]);
    renameSync(...probes);
    removeEmpty(probes[1]);
  } catch (error) {
    removeEmpty(probes[0]);
    rootUnusable(`${from} (to be moved to ${to})`)(error);
  }
}

function makeDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST" || statIfThere(path)?.isDirectory() !== true) {
      rootUnusable(path)(error);
    }
  }
  setMode(path, mode);
}

function makeWritable(directory: string): void {
  const mode = (statIfThere(directory)?.mode ?? 0o700) & 0o7777;
  if ((mode & 0o700) !== 0o700) setMode(directory, mode | 0o700);
}

function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") rootUnusable(directory)(error);
  }
}

function setMode(path: string, mode: number): void {
  try {
    chmodSync(path, mode);
  } catch (error) {
    rootUnusable(path)(error);
  }
}

async function sync(directory: string): Promise<void> {
  await syncDirectory(directory).catch(rootUnusable(directory));
}

function isSame({ swaps: left }: SwapJournal, right: readonly TreeSwap[]): boolean {
  return (
    left.length === right.length &&
    left.every(({ live, incoming, aside }, index) => {
      const other = right[index];
      return live === other?.live && incoming === other.incoming && aside === other.aside;
    })
  );
}

function isDone(swaps: readonly TreeSwap[]): boolean {
  const arriving = swaps.flatMap(({ incoming }) => incoming ?? []);
  if (arriving.length === 0) return swaps.some(({ aside }) => statIfThere(aside) !== undefined);
  return arriving.every((path) => statIfThere(path) === undefined);
}

/** Written by rename: if it is there it is whole, and one of another version must not be guessed at. */
function readJournal(path: string): SwapJournal | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return errnoOf(error) === "ENOENT" ? undefined : rootUnusable(path)(error);
  }
  try {
    const journal = JSON.parse(text) as SwapJournal;
    if (journal.version === 1 && ["out", "in", "done"].includes(journal.phase)) return journal;
  } catch {
    // Not JSON: no journal of ours.
  }
  throw new FileSyncError(
    "ROOT_UNUSABLE",
    `${path} says that a swap was interrupted, and cannot be read`,
    "A later version may have written it: use that one. Else look at what lies aside before you delete it.",
  );
}

function disturbed(path: string, why: string): FileSyncError {
  return new FileSyncError(
    "ROOT_UNUSABLE",
    `a swap cannot go on at ${path}: ${why}`,
    "Somebody else changed these directories meanwhile. Move what lies there away, and start again: nothing is lost.",
  );
}
