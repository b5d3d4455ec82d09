import type { Ledger, LedgerFile } from "./ledger.ts";
import type { Line } from "./line.ts";

const snapshotLevel = 9;

/**
 * Restores from what the ledger has of a lineage, by a planner of its own: the engine's sorts all files for each plan, and a
 * simulation makes a million of them. The engine's own planner is compared with it.
 *
 * It counts on what the simulation checks elsewhere: below the snapshots, files of a level are disjoint.
 */
export class RestoreIndex {
  /** By level; ascending. */
  readonly levels: Map<number, LedgerFile[]> = new Map();

  constructor(ledger: Ledger, line: Line) {
    for (const { line: part, upTo } of [...line.lineage()].reverse()) {
      for (const [level, files] of ledger.levels(part.name)) {
        const all = this.levels.get(level) ?? [];
        this.levels.set(level, all);
        for (const file of files) if (file.max <= upTo) all.push(file);
      }
    }
  }

  get files(): LedgerFile[] {
    return [...this.levels.values()].flat();
  }

  /**
   * @returns the files of a restore to exactly this TXID, to the last that can be reached up to one, or to what is older than a time;
   *   undefined: there is no way.
   */
  plan(target: {
    readonly txid?: number;
    readonly upToTxid?: number;
    readonly beforeMs?: number;
  }): LedgerFile[] | undefined {
    const txid = target.txid ?? target.upToTxid ?? Number.POSITIVE_INFINITY;
    const { beforeMs = Number.POSITIVE_INFINITY } = target;
    const isEligible = (file: LedgerFile): boolean =>
      file.max <= txid && file.timestampMs < beforeMs;
    const plan: LedgerFile[] = [];
    const base = this.levels.get(snapshotLevel)?.findLast(isEligible);
    if (base !== undefined) plan.push(base);
    let reached = base?.max ?? 0;
    while (reached < txid) {
      let best: LedgerFile | undefined;
      for (const [level, files] of this.levels) {
        if (level === snapshotLevel) continue;
        const next = lastBeginningAt(files, reached + 1);
        if (next === undefined || next.max <= reached || !isEligible(next)) continue;
        if (best === undefined || isBetter(next, best)) best = next;
      }
      if (best === undefined) break;
      plan.push(best);
      reached = best.max;
    }
    if (plan.length === 0 || (target.txid !== undefined && reached !== target.txid))
      return undefined;
    return plan;
  }
}

/** As stock ranks them: what reaches furthest; then what begins first; then the highest level. */
function isBetter(file: LedgerFile, best: LedgerFile): boolean {
  if (file.max !== best.max) return file.max > best.max;
  return file.min === best.min ? file.level > best.level : file.min < best.min;
}

/** The last file that begins at or before a TXID. */
function lastBeginningAt(files: readonly LedgerFile[], txid: number): LedgerFile | undefined {
  let low = 0;
  let high = files.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((files[middle] as LedgerFile).min <= txid) low = middle + 1;
    else high = middle;
  }
  return files[low - 1];
}
