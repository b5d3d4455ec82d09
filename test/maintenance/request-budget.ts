import type { Disturbances } from "./disturbances.ts";
import { LawBroken } from "./law-broken.ts";
import type { Promises } from "./promises.ts";
import type { RequestCounts } from "./troubled-store.ts";
import { hour } from "./virtual-clock.ts";

/** What an hour merges was committed in it, or shortly before. */
const commitsBefore = 500;
/** Of epochs, and of everything. */
const listPagesMax = 16;

interface Reading {
  readonly atMs: number;
  readonly counts: RequestCounts;
  /** TXIDs so far. */
  readonly committed: number;
}

/**
 * What maintenance may ask the store for (s3.md 8), hour by hour: PUT and GET for merges, and nothing if there is nothing to do. Hours in which
 * something was wrong are not counted.
 */
export class RequestBudget {
  readonly #promises: Promises;
  readonly #disturbances: Disturbances;
  #before: Reading | undefined;

  constructor(promises: Promises, disturbances: Disturbances) {
    this.#promises = promises;
    this.#disturbances = disturbances;
  }

  /**
   * To be called often; looks about once an hour.
   *
   * @param epochs - how many there are. @throws {LawBroken}
   */
  look(nowMs: number, counts: RequestCounts, committed: number, epochs: number): void {
    const before = this.#before;
    if (before !== undefined && nowMs < before.atMs + hour) return;
    this.#before = { atMs: nowMs, counts: new Map(counts), committed };
    if (before === undefined || this.#disturbances.isTroubled(before.atMs - 3 * hour, nowMs))
      return;
    this.#check(before, this.#before, epochs);
  }

  #check(before: Reading, after: Reading, epochs: number): void {
    const hours = (after.atMs - before.atMs) / hour;
    const commits = after.committed - before.committed;
    const since = (...names: Parameters<RequestCounts["get"]>[0][]): number =>
      names.reduce(
        (sum, name) => sum + (after.counts.get(name) ?? 0) - (before.counts.get(name) ?? 0),
        0,
      );
    const refuse = (what: string, count: number, max: number): void => {
      if (count <= max) return;
      const when = `in the ${hours.toFixed(1)} h before ${new Date(after.atMs).toISOString()}`;
      throw new LawBroken(`${count} ${what} ${when}: ${max} are the budget`);
    };
    // One for each window of a level that anything was committed in, and a snapshot.
    const merges = this.#promises.current.levelIntervalsMs
      .map((ms) => Math.min(Math.ceil((hours * hour) / ms) + 1, commits + commitsBefore))
      .reduce((total, count) => total + count, 0);
    refuse("PUT of maintenance", since("maintain put", "maintain putIfAbsent"), merges + 1);
    // Each file is read once to become part of the next level's; of level 0 there may be copies.
    refuse("GET of maintenance", since("maintain get"), merges + commits + commitsBefore);
    refuse("LIST and HEAD of compaction", since("maintain list", "maintain head"), 0);
    // Whenever something is to be deleted: the store's clock, and whether there is a new epoch.
    const looks = Math.ceil(hours * 24) + 4;
    const isIdle = since("retain deleteAll") === 0 && commits === 0;
    refuse("HEAD of retention", since("retain head"), isIdle ? 4 : looks);
    // Epochs are read once.
    refuse("GET of retention", since("retain get"), 2 * epochs);
    // Once a day, or if there is a new epoch, all that is there.
    refuse("LIST of retention", since("retain list"), listPagesMax);
  }
}
