import { isUtf8 } from "node:buffer";
import { lstatSync, readdirSync, realpathSync, type Stats } from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import { FileSyncError } from "./errors.ts";
import { rootUnusable } from "./file-errors.ts";

/** A directory that comes and goes while it is tried whether things can be moved. */
export const probeName = ".file-sync-probe";

/** One root's tree that is to be replaced. All paths are absolute, on one file system, and the directories that hold them exist. */
export interface TreeSwap {
  /** What is in use: a directory, perhaps a mount point, or a file, or nothing yet. A symbolic link here is followed. */
  readonly live: string;
  /** What takes its place; it moves. Undefined: nothing does, and the root is empty afterwards. */
  readonly incoming: string | undefined;
  /** Where what was there is kept. Must not exist. Afterwards it exists if there was anything. */
  readonly aside: string;
  /** Children of a live directory that stay where they are. Those that hold an `incoming`, an `aside` or the journal do anyway. */
  readonly keep?: (name: string) => boolean;
}

/** A rename. It was done if there is nothing at `from` and something at `to`. */
export interface SwapMove {
  readonly from: string;
  readonly to: string;
  /** Of a directory whose owner may not write in it, which forbids to move it: given back afterwards. */
  readonly mode?: number;
}

export interface SwapPlan {
  /** What was asked for, to know it again. */
  readonly swaps: readonly Omit<TreeSwap, "keep">[];
  /** Directories to move into, where they are missing; with the modes that they get in the end. */
  readonly make: readonly { readonly path: string; readonly mode: number }[];
  readonly out: readonly SwapMove[];
  readonly in: readonly SwapMove[];
  /** Directories that have nothing in them afterwards. */
  readonly emptied: readonly string[];
}

/**
 * Looks at what is there, and says what moves where. A directory's children move one by one, and it stays itself, with its owner and mode: it may
 * be a mount point, or the one place where we may write.
 *
 * @throws {FileSyncError} `ROOT_UNUSABLE` if anything is not as it must be.
 */
export function planMoves(swaps: readonly TreeSwap[], journal: string): SwapPlan {
  const stay = swaps.flatMap(({ live, incoming, aside }) => [live, incoming ?? [], aside].flat());
  const plans = swaps.map((swap) => planOne(swap, [...stay, journal]));
  return {
    swaps: swaps.map(({ live, incoming, aside }) => ({ live, incoming, aside })),
    make: plans.flatMap(({ make }) => make),
    out: plans.flatMap(({ out }) => out),
    in: plans.flatMap((plan) => plan.in),
    emptied: plans.flatMap(({ emptied }) => emptied),
  };
}

function planOne(
  { live: named, incoming, aside, keep = () => false }: TreeSwap,
  stay: readonly string[],
): Omit<SwapPlan, "swaps"> {
  const live = resolveLive(named);
  const liveStats = statIfThere(live);
  const incomingStats = incoming === undefined ? undefined : statIfThere(incoming);
  if (incoming !== undefined && incomingStats === undefined) {
    throw unusable(incoming, `nothing is there to be put in the place of ${named}`);
  }
  if (statIfThere(aside) !== undefined) {
    throw unusable(
      aside,
      `what is at ${named} would be kept there, and something is there already`,
    );
  }
  const kinds = new Set([liveStats, incomingStats].flatMap((stats) => stats && kindOf(stats)));
  kinds.delete(undefined);
  if (kinds.size > 1 || kinds.has("other")) {
    throw unusable(named, `it and ${incoming} are not both directories or both files`);
  }
  if (!kinds.has("directory")) {
    return {
      make: [],
      out: liveStats === undefined ? [] : [{ from: live, to: aside }],
      in: incoming === undefined ? [] : [{ from: incoming, to: live }],
      emptied: [],
    };
  }
  const staying = new Set(stay.flatMap((path) => childHolding(live, path) ?? []));
  const names = liveStats === undefined ? [] : childrenOf(live);
  const out = names.filter((name) => !staying.has(name) && !keep(name));
  const arriving = incoming === undefined ? [] : childrenOf(incoming);
  const moving = new Set(out);
  const blocked = arriving.find((name) => !moving.has(name) && names.includes(name));
  if (blocked !== undefined) {
    throw unusable(join(live, blocked), `it stays where it is, and ${incoming} has one, too`);
  }
  const make = [];
  if (out.length > 0) make.push({ path: aside, mode: 0o700 });
  if (liveStats === undefined && incomingStats !== undefined) {
    make.push({ path: live, mode: incomingStats.mode & 0o7777 });
  }
  return {
    make,
    out: out.map((name) => toMove(join(live, name), join(aside, name))),
    in: arriving.map((name) => toMove(join(incoming ?? "", name), join(live, name))),
    emptied: incoming === undefined ? [] : [incoming],
  };
}

function toMove(from: string, to: string): SwapMove {
  const stats = statIfThere(from);
  if (stats === undefined) throw unusable(from, "it vanished while it was looked at");
  const mode = stats.mode & 0o7777;
  return stats.isDirectory() && (mode & 0o200) === 0 ? { from, to, mode } : { from, to };
}

/** With the links on its way resolved, also if it is not there itself. */
function resolveLive(live: string): string {
  try {
    if (lstatSync(live, { throwIfNoEntry: false }) !== undefined) return realpathSync(live);
    return join(realpathSync(dirname(live)), basename(live));
  } catch (error) {
    return rootUnusable(live)(error);
  }
}

export function statIfThere(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    return rootUnusable(path)(error);
  }
}

/** Passes over what a killed probe left. */
function childrenOf(directory: string): string[] {
  let raw: Buffer[];
  try {
    raw = readdirSync(directory, { encoding: "buffer" });
  } catch (error) {
    return rootUnusable(directory)(error);
  }
  const foreign = raw.find((bytes) => !isUtf8(bytes));
  if (foreign !== undefined) {
    throw unusable(directory, `it holds a name that is not UTF-8 (${foreign.toString("latin1")})`);
  }
  return raw.map(String).filter((name) => name !== probeName);
}

/** @returns the child of the directory that is the path, or holds it. */
function childHolding(directory: string, path: string): string | undefined {
  const parent =
    statIfThere(dirname(path)) === undefined ? dirname(path) : realpathSync(dirname(path));
  const [first = "", ...rest] = relative(directory, join(parent, basename(path))).split(sep);
  return first === ".." || (first === "" && rest.length === 0) ? undefined : first;
}

function kindOf(stats: Stats): "directory" | "file" | "other" {
  return stats.isDirectory() ? "directory" : stats.isFile() ? "file" : "other";
}

function unusable(path: string, why: string): FileSyncError {
  return new FileSyncError(
    "ROOT_UNUSABLE",
    `${path} cannot be used: ${why}`,
    "See what lies there; nothing was moved.",
  );
}
