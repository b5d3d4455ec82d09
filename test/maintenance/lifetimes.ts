import { pruneGraceMs } from "./daemon.ts";
import type { Disturbances } from "./disturbances.ts";
import type { Files } from "./file-ledger.ts";
import { LawBroken } from "./law-broken.ts";
import type { Ledger, LedgerFile } from "./ledger.ts";
import type { Line } from "./line.ts";
import type { Promises } from "./promises.ts";
import type { ProvenPoint } from "./referee.ts";
import { RestoreIndex } from "./restore-index.ts";
import { ago, day, hour, type VirtualClock } from "./virtual-clock.ts";

const snapshotLevel = 9;

export interface LifetimesOptions {
  readonly clock: VirtualClock;
  readonly lines: () => ReadonlyMap<string, Line>;
  readonly promises: Promises;
  readonly disturbances: Disturbances;
  readonly pruneEveryMs: number;
}

/** That nothing outlives its retention and grace, snapshots come in time, and what is stored is bounded. Where nothing was in the way of it. */
export class Lifetimes {
  readonly #options: LifetimesOptions;
  /** By timeline. */
  readonly #lastStoredMs = new Map<string, number>();
  #fullCopyBytes = 0;

  constructor(options: LifetimesOptions) {
    this.#options = options;
  }

  stored({ timeline, storedAtMs, min, size }: LedgerFile): void {
    this.#lastStoredMs.set(timeline, storedAtMs);
    if (min === 1) this.#fullCopyBytes = Math.max(this.#fullCopyBytes, size);
  }

  /** When an object of a timeline was last stored. */
  lastStoredMs(timeline: string): number {
    return this.#lastStoredMs.get(timeline) ?? Number.NEGATIVE_INFINITY;
  }

  /** To be called if nothing was in the way for some hours. @throws {LawBroken} */
  check(ledger: Ledger, head: Line, proven: readonly ProvenPoint[]): void {
    this.#checkLine(ledger, head, proven);
    this.#checkSnapshots(ledger, head);
    this.#checkBytes(ledger, head);
    this.#checkFiles(ledger.files, head);
  }

  #checkLine(ledger: Ledger, head: Line, proven: readonly ProvenPoint[]): void {
    const { promises, clock } = this.#options;
    const { nowMs } = clock;
    const { graceMs, keepMs, levelIntervalsMs } = promises.current;
    const lineage = [...head.lineage()];
    const deadBranches = this.#keptDeadBranches(ledger, head);
    const provenChain = new Set(
      proven.flatMap(({ line, txid }) => new RestoreIndex(ledger, line).plan({ txid }) ?? []),
    );
    // The newest of each level stays, of an ancestor the newest before the branch; and what was that a moment ago.
    const newest = new Set(
      lineage.flatMap(({ line, upTo }) =>
        [...ledger.levels(line.name).values()].flatMap((files) => {
          const old = files.filter((file) => bornMs(file) + hour < nowMs);
          return [old.at(-1), old.findLast(({ max }) => max <= upTo)];
        }),
      ),
    );
    const isExcused = (file: LedgerFile): boolean =>
      provenChain.has(file) ||
      newest.has(file) ||
      deadBranches.some(({ line, txid }) => line.name === file.timeline && file.max <= txid);
    const keptMs = (level: number) => promises.keepMsMax(level, retentionSlackMs, nowMs) + graceMs;
    const horizon = new RestoreIndex(ledger, head).levels
      .get(snapshotLevel)
      ?.findLast((base) => bornMs(base) + keptMs(keepMs.length - 1) + day + hour < nowMs);
    for (const { line, upTo } of lineage) {
      const levels = ledger.levels(line.name);
      const slackMs = line === head ? hour : day + hour;
      for (const [level, files] of levels) {
        if (level >= levelIntervalsMs.length) continue;
        const covers = levels.get(level + 1) ?? [];
        const limitMs = keptMs(level) + slackMs;
        let cover = 0;
        for (const file of files) {
          while (cover < covers.length && (covers[cover] as LedgerFile).max < file.max) cover += 1;
          const over = covers[cover];
          if (over === undefined || over.max > upTo) break;
          if (over.min > file.min || bornMs(over) + limitMs >= nowMs || isExcused(file)) continue;
          throw new LawBroken(
            `${file.key} is still there, ${ago(nowMs - bornMs(file))} after it was stored: ${over.key} holds it`,
          );
        }
      }
      for (const file of horizon === undefined ? [] : [...levels.values()].flat()) {
        if (
          file === horizon ||
          file.max > (horizon?.max ?? 0) ||
          file.max > upTo ||
          isExcused(file)
        )
          continue;
        throw new LawBroken(
          `${file.key} is still there, ${ago(nowMs - bornMs(file))} after it was stored: it is beyond the retention`,
        );
      }
    }
    this.#checkDeadLinesGo(ledger, head, deadBranches, provenChain);
  }

  #checkDeadLinesGo(
    ledger: Ledger,
    head: Line,
    kept: readonly { readonly line: Line; readonly txid: number }[],
    provenChain: ReadonlySet<LedgerFile>,
  ): void {
    const { promises, clock, lines, disturbances } = this.#options;
    const { nowMs } = clock;
    if (disturbances.isTroubled(nowMs - day - 3 * hour, nowMs)) return;
    const living = new Map([...head.lineage()].map(({ line, upTo }) => [line, upTo]));
    const keepMs = promises.keepMsMax(promises.current.keepMs.length - 1, retentionSlackMs, nowMs);
    for (const line of lines().values()) {
      const lastMs = this.lastStoredMs(line.name);
      if (line === head) continue;
      if (nowMs < lastMs + keepMs + promises.current.graceMs + day + hour) continue;
      const upTo = living.get(line) ?? 0;
      for (const file of [...ledger.levels(line.name).values()].flat()) {
        const isNeeded = kept.some((branch) => branch.line === line && file.max <= branch.txid);
        if (file.min <= upTo || isNeeded || provenChain.has(file)) continue;
        throw new LawBroken(
          `${file.key} is of a dead line, and still there ${ago(nowMs - lastMs)} after that line's last object`,
        );
      }
    }
  }

  /** Where dead lines that are kept for a while have left others: what is before that may be needed by them. */
  #keptDeadBranches(ledger: Ledger, head: Line): { readonly line: Line; readonly txid: number }[] {
    const living = new Set([...head.lineage()].map(({ line }) => line));
    const branches: { readonly line: Line; readonly txid: number }[] = [];
    for (const line of this.#options.lines().values()) {
      const levels = ledger.levels(line.name);
      const isEmpty = [...levels.values()].every((files) => files.length === 0);
      if (isEmpty) continue;
      // Of a line that lives on, what lies behind the branch is dead, and restores over what is before it.
      const isTail = living.has(line) && line !== head && this.#hasTail(ledger, head, line);
      if (living.has(line) && !isTail) continue;
      for (const { line: part, upTo } of line.lineage()) {
        branches.push({ line: part, txid: Math.min(upTo, part.last) });
      }
    }
    return branches;
  }

  #hasTail(ledger: Ledger, head: Line, line: Line): boolean {
    const { upTo } = [...head.lineage()].find((part) => part.line === line) as { upTo: number };
    return [...ledger.levels(line.name).values()].some((files) => (files.at(-1)?.max ?? 0) > upTo);
  }

  #checkSnapshots(ledger: Ledger, head: Line): void {
    const { promises, clock } = this.#options;
    const levels = ledger.levels(head.name);
    const base = levels.get(snapshotLevel)?.at(-1) ?? levels.get(0)?.find(({ min }) => min === 1);
    const increment = levels.get(0)?.find(({ min }) => min > (base?.max ?? 0));
    if (base === undefined || increment === undefined) return;
    if (bornMs(increment) + hour > clock.nowMs) return;
    const ageMs = clock.nowMs - bornMs(base);
    if (ageMs > promises.current.snapshotAtLeastMs + hour) {
      throw new LawBroken(`the newest snapshot is ${ago(ageMs)} old: ${base.key}`);
    }
  }

  /**
   * The bound: D bytes for each window of each level within its time and grace, and for each snapshot, D being the largest full copy so
   * far with the room of a file; and level 0 as it was written within its time. Of dead lines everything counts apart.
   */
  #checkBytes(ledger: Ledger, head: Line): void {
    const { promises } = this.#options;
    const { keepMs, levelIntervalsMs, graceMs, snapshotIntervalMs, snapshotAtLeastMs } =
      promises.current;
    const levels = ledger.levels(head.name);
    let fileCountMax =
      ((keepMs.at(-1) as number) + graceMs + snapshotAtLeastMs) / snapshotIntervalMs + 3;
    for (const [index, intervalMs] of levelIntervalsMs.entries()) {
      const isTop = index === levelIntervalsMs.length - 1;
      const extraMs = isTop ? snapshotAtLeastMs : 2 * (levelIntervalsMs[index + 1] as number);
      fileCountMax +=
        ((keepMs[index + 1] as number) + graceMs + extraMs + 2 * hour) / intervalMs + 3;
    }
    const boundBytes = fileCountMax * (1.2 * this.#fullCopyBytes + 1_000);
    let bytes = 0;
    for (const [level, files] of levels) if (level > 0) for (const { size } of files) bytes += size;
    if (bytes > boundBytes) {
      throw new LawBroken(
        `${bytes} bytes are stored of ${head.name}, and ${Math.round(boundBytes)} are the bound`,
      );
    }
  }

  /** What nobody names goes with the second prune after its grace; what nobody can ask for, with the second after the retention. */
  #checkFiles(files: Files, head: Line): void {
    const { promises, clock, pruneEveryMs, disturbances } = this.#options;
    const { nowMs } = clock;
    const slackMs = pruneGraceMs + 2 * pruneEveryMs + hour;
    if (disturbances.isTroubled(nowMs - slackMs, nowMs)) return;
    const [unnamed] = files.unnamedBlobs(nowMs - slackMs);
    if (unnamed !== undefined) {
      throw new LawBroken(`blob ${unnamed} is still there, and no manifest has named it for long`);
    }
    const keepMs = promises.keepMsMax(promises.current.keepMs.length - 1, retentionSlackMs, nowMs);
    const living = new Set([...head.lineage()].map(({ line }) => line.name));
    const old = files
      .live()
      .filter(
        ({ timeline, time }) => living.has(timeline) && nowMs - time.getTime() > keepMs + slackMs,
      );
    // What was in force when the retention began, at the oldest moment, and the newest of each timeline.
    if (old.length > 2 + living.size) {
      throw new LawBroken(`${old.length} manifests are beyond the retention and still there`);
    }
  }
}

const retentionSlackMs = 3 * day;

/** When a file came into being, by whichever clock is later. */
function bornMs(file: LedgerFile): number {
  return Math.max(file.storedAtMs, file.timestampMs);
}
