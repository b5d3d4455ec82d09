import type { ManifestRef } from "@vaultwarden-stream/file-sync";
import { pruneGraceMs } from "./daemon.ts";
import type { Files } from "./file-ledger.ts";
import type { Ledger, LedgerFile, Levels } from "./ledger.ts";
import type { Line } from "./line.ts";
import type { Promises } from "./promises.ts";
import { LawBroken, type Position } from "./referee.ts";
import { RestoreIndex } from "./restore-index.ts";
import type { Trouble } from "./scenario.ts";
import type { RequestCounts } from "./troubled-store.ts";
import { day, hour, minute, second, type VirtualClock } from "./virtual-clock.ts";

const snapshotLevel = 9;

export interface LawsOptions {
  readonly clock: VirtualClock;
  readonly lines: ReadonlyMap<string, Line>;
  readonly promises: Promises;
  readonly listsTimestamps: boolean;
  readonly pruneEveryMs: number;
}

interface Disturbance {
  readonly kind: Trouble["kind"];
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * What holds of the store's content whatever was asked of it: the shape of the levels, that nothing goes too early or stays too long, that
 * what is stored is bounded, and what it costs in requests.
 *
 * Not verified: how long anything takes; what happens while a store loses or changes what it has.
 */
export class Laws {
  /** Found at once, where nothing may be thrown. */
  readonly problems: string[] = [];
  head: Line | undefined;
  readonly #options: LawsOptions;
  readonly #disturbances: Disturbance[] = [];
  /** By timeline and level: the range that was stored last. */
  readonly #last = new Map<string, { readonly min: number; readonly max: number }>();
  /** By timeline and level: every TXID that a file ended with. */
  readonly #ends = new Map<string, Set<number>>();
  /** By timeline. */
  readonly #lastStoredMs = new Map<string, number>();
  /** By timeline. */
  readonly #lastSnapshotMs = new Map<string, number>();
  #fullCopyBytes = 0;
  #hour:
    | { readonly startMs: number; readonly counts: RequestCounts; readonly last: number }
    | undefined;

  constructor(options: LawsOptions) {
    this.#options = options;
  }

  disturb(kind: Trouble["kind"], fromMs: number, toMs: number): void {
    // Where nothing could be deleted it is tried again a day later.
    const isForbidden = kind === "append-only";
    this.#disturbances.push({ kind, fromMs, toMs: isForbidden ? toMs + day + hour : toMs });
  }

  /** Whether uploads lagged, or a clock was wrong, at some moment in between. */
  isBlurred(fromMs: number, toMs: number): boolean {
    return this.#wasDisturbed(fromMs, toMs, [
      "outage",
      "flaky",
      "skew",
      "failover",
      "restore-back",
      "restart",
      "policy",
    ]);
  }

  stored(file: LedgerFile): void {
    const { timeline, level, min, max, key } = file;
    const line = this.#options.lines.get(timeline);
    if (line === undefined) {
      this.problems.push(`${key} is of a timeline that nobody has begun`);
      return;
    }
    this.#lastStoredMs.set(timeline, file.storedAtMs);
    const state = line.state(max);
    if (file.rollingChecksum !== state.rollingChecksum) {
      this.problems.push(
        `${key} was stored with the rolling checksum of another state than TXID ${max}`,
      );
    }
    if (level === snapshotLevel) {
      this.#fullCopyBytes = Math.max(this.#fullCopyBytes, file.size);
      if (min !== 1) this.problems.push(`${key} is a snapshot that does not begin with TXID 1`);
      this.#checkSnapshotPause(file);
      return;
    }
    if (min === 1) this.#fullCopyBytes = Math.max(this.#fullCopyBytes, file.size);
    if (file.timestampMs !== state.timestampMs) {
      this.problems.push(`${key} is dated ${file.timestampMs}, and its state ${state.timestampMs}`);
    }
    this.#checkRange(file, line);
  }

  #checkSnapshotPause({ timeline, key, storedAtMs }: LedgerFile): void {
    const lastMs = this.#lastSnapshotMs.get(timeline);
    this.#lastSnapshotMs.set(timeline, storedAtMs);
    const { snapshotIntervalMs } = this.#options.promises.current;
    if (lastMs === undefined || storedAtMs >= lastMs + snapshotIntervalMs - 2 * minute) return;
    if (this.#isTroubled(lastMs - hour, storedAtMs)) return;
    this.problems.push(`${key} was made ${ago(storedAtMs - lastMs)} after the snapshot before it`);
  }

  /** Contiguous, whole files of the level below, one window, and never the copy that a timeline begins with. */
  #checkRange(file: LedgerFile, line: Line): void {
    const { timeline, level, min, max, key } = file;
    const name = `${timeline} ${level}`;
    const last = this.#last.get(name);
    if (last?.min === min && last.max === max) return; // written again
    this.#last.set(name, { min, max });
    const ends = this.#ends.get(name) ?? new Set();
    this.#ends.set(name, ends.add(max));
    const begin = last === undefined ? Math.max(line.first, level === 0 ? 1 : 2) : last.max + 1;
    if (min !== begin)
      this.problems.push(`${key} follows ${begin - 1}: its level has a hole or an overlap`);
    if (level === 0) return;
    if (!(this.#ends.get(`${timeline} ${level - 1}`)?.has(max) ?? false)) {
      this.problems.push(`${key} does not end where a file of level ${level - 1} does`);
    }
    const intervalMs = this.#options.promises.current.levelIntervalsMs[level - 1] as number;
    const windowOf = (txid: number) => Math.floor(line.state(txid).timestampMs / intervalMs);
    if (this.#options.listsTimestamps && windowOf(min) !== windowOf(max)) {
      this.problems.push(`${key} covers more than one window of ${intervalMs / second} s`);
    }
  }

  deleted(file: LedgerFile): void {
    const { timeline, key } = file;
    const { promises, clock } = this.#options;
    if (this.head === undefined) return;
    const part = [...this.head.lineage()].find(({ line }) => line.name === timeline);
    if (part !== undefined && file.min <= part.upTo) return;
    const lastMs = this.#lastStoredMs.get(timeline) as number;
    const keepMs = promises.keepMs(lastMs).at(-1) as number;
    const untilMs = lastMs + keepMs + promises.current.graceMs;
    if (clock.nowMs < untilMs - clockMarginMs) {
      this.problems.push(
        `${key} is of a dead line that is to be kept until ${new Date(untilMs).toISOString()}`,
      );
    }
  }

  /** Of a dead line all manifests stay as long as its database does. */
  manifestDeleted({ timeline, txid }: ManifestRef, files: Files): void {
    const { promises, clock } = this.#options;
    const part = [...(this.head?.lineage() ?? [])].find(({ line }) => line.name === timeline);
    const last = files.lastOf(timeline);
    if (last === undefined || (part !== undefined && Number.parseInt(txid, 16) <= part.upTo))
      return;
    const lastMs = last.time.getTime();
    const untilMs = lastMs + (promises.keepMs(lastMs).at(-1) as number);
    if (clock.nowMs < untilMs - clockMarginMs) {
      this.problems.push(
        `a manifest of ${timeline}, a dead line, was deleted: it is to be kept until ${new Date(untilMs).toISOString()}`,
      );
    }
  }

  check(ledger: Ledger, proven: Position["proven"]): void {
    const { nowMs } = this.#options.clock;
    // What was in the way of maintenance is given time to be caught up with.
    const isCalm = !this.#isTroubled(nowMs - 3 * hour, nowMs);
    for (const timeline of ledger.timelines) this.#checkShape(ledger, timeline, proven, isCalm);
    if (this.head === undefined || !isCalm) return;
    this.#checkNothingOutlives(ledger, this.head, proven);
    this.#checkSnapshots(ledger, this.head);
    this.#checkBytes(ledger);
    this.#checkFiles(ledger.files);
  }

  #checkShape(ledger: Ledger, timeline: string, proven: Position["proven"], isCalm: boolean): void {
    const levels = ledger.levels(timeline);
    const count = [...levels.values()].reduce((sum, files) => sum + files.length, 0);
    if (count === 0) return;
    if ((levels.get(0)?.length ?? 0) === 0 && !this.#isGoing(timeline)) {
      throw new LawBroken(`level 0 of ${timeline} is empty, and ${count} files are left of it`);
    }
    // What a dead line or a proven point needs stays where everything around it went.
    const alone = Math.max(
      proven?.txid ?? 0,
      ...[...this.#options.lines.values()].flatMap((line) =>
        [...line.lineage()].flatMap((part) =>
          part.line.name === timeline && part.line !== line ? [part.upTo] : [],
        ),
      ),
    );
    for (const [level, files] of levels) {
      if (level === snapshotLevel) continue;
      for (let index = 1; index < files.length; index += 1) {
        const [before, next] = [files[index - 1] as LedgerFile, files[index] as LedgerFile];
        const isGap = next.min > before.max + 1;
        // Several are deleted at once, and some of the deletes fail: what holds them all is there.
        const isHeld = !isCalm && this.#isHeld(levels, level, before.max + 1, next.min - 1);
        const mayGap = before.min === 1 || before.max <= alone || isHeld;
        if (next.min <= before.max || (isGap && !mayGap)) {
          throw new LawBroken(
            `${next.key} follows ${before.key}: level ${level} is not contiguous`,
          );
        }
      }
    }
  }

  /** Whether it is a dead line whose time is over: it goes in an order of its own, and so does what an ancestor wrote behind the branch. */
  #isGoing(timeline: string): boolean {
    const { promises, clock } = this.#options;
    if (this.head === undefined || timeline === this.head.name) return false;
    const lastMs = this.#lastStoredMs.get(timeline) as number;
    return clock.nowMs > lastMs + (promises.keepMs(lastMs).at(-1) as number);
  }

  /** Whether one file of a higher level holds these TXIDs. */
  #isHeld(levels: Levels, level: number, from: number, to: number): boolean {
    return [...levels].some(
      ([higher, files]) => higher > level && files.some(({ min, max }) => min <= from && max >= to),
    );
  }

  #checkNothingOutlives(ledger: Ledger, head: Line, proven: Position["proven"]): void {
    const { promises, clock } = this.#options;
    const { nowMs } = clock;
    const { graceMs, keepMs, levelIntervalsMs } = promises.current;
    const lineage = [...head.lineage()];
    const deadBranches = this.#keptDeadBranches(ledger, head);
    const provenChain = new Set(
      proven === undefined ? [] : new RestoreIndex(ledger, proven.line).plan({ txid: proven.txid }),
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
    const { promises, clock, lines } = this.#options;
    const { nowMs } = clock;
    if (this.#isTroubled(nowMs - day - 3 * hour, nowMs)) return;
    const living = new Map([...head.lineage()].map(({ line, upTo }) => [line, upTo]));
    const keepMs = promises.keepMsMax(promises.current.keepMs.length - 1, retentionSlackMs, nowMs);
    for (const line of lines.values()) {
      const lastMs = this.#lastStoredMs.get(line.name);
      if (lastMs === undefined || line === head) continue;
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
    for (const line of this.#options.lines.values()) {
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
  #checkBytes(ledger: Ledger): void {
    const { promises } = this.#options;
    const { keepMs, levelIntervalsMs, graceMs, snapshotIntervalMs, snapshotAtLeastMs } =
      promises.current;
    const head = this.head as Line;
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
  #checkFiles(files: Files): void {
    const { promises, clock, pruneEveryMs } = this.#options;
    const { nowMs } = clock;
    const slackMs = pruneGraceMs + 2 * pruneEveryMs + hour;
    if (this.#isTroubled(nowMs - slackMs, nowMs)) return;
    const [unnamed] = files.unnamedBlobs(nowMs - slackMs);
    if (unnamed !== undefined) {
      throw new LawBroken(`blob ${unnamed} is still there, and no manifest has named it for long`);
    }
    const keepMs = promises.keepMsMax(promises.current.keepMs.length - 1, retentionSlackMs, nowMs);
    const living = new Set([...(this.head?.lineage() ?? [])].map(({ line }) => line.name));
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

  /** About once an hour: what maintenance has asked the store for since. */
  countRequests(counts: RequestCounts, line: Line): void {
    const { nowMs } = this.#options.clock;
    const before = this.#hour;
    if (before !== undefined && nowMs < before.startMs + hour) return;
    this.#hour = { startMs: nowMs, counts: new Map(counts), last: line.last };
    if (before === undefined || this.#isTroubled(before.startMs - 3 * hour, nowMs)) return;
    const hours = (nowMs - before.startMs) / hour;
    this.#checkBudget(before.counts, counts, line.last - before.last, hours);
  }

  #checkBudget(before: RequestCounts, after: RequestCounts, commits: number, hours: number): void {
    const since = (...names: Parameters<RequestCounts["get"]>[0][]): number =>
      names.reduce((sum, name) => sum + (after.get(name) ?? 0) - (before.get(name) ?? 0), 0);
    const { levelIntervalsMs } = this.#options.promises.current;
    const windows = levelIntervalsMs.map((ms) => Math.ceil((hours * hour) / ms) + 1);
    const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
    const refuse = (what: string, count: number, max: number): void => {
      if (count <= max) return;
      const where = `in the ${hours.toFixed(1)} h before ${new Date(this.#options.clock.nowMs).toISOString()}`;
      throw new LawBroken(`${count} ${what} ${where}: ${max} are the budget`);
    };
    // One for each window of a level that anything was committed in, and a snapshot.
    const merges = sum(windows.map((count) => Math.min(count, commits + commitsBefore)));
    refuse("PUT of maintenance", since("maintain put", "maintain putIfAbsent"), merges + 1);
    // Each file is read once to become part of the next level's; of level 0 there may be copies.
    refuse("GET of maintenance", since("maintain get"), merges + commits + commitsBefore);
    refuse("LIST and HEAD of compaction", since("maintain list", "maintain head"), 0);
    // Whenever something is to be deleted: the store's clock, and whether there is a new epoch. Once a day, or if there is one, all that is there.
    const looks = Math.ceil(hours * 24) + 4;
    const isIdle = since("retain deleteAll") === 0 && commits === 0;
    refuse("HEAD of retention", since("retain head"), isIdle ? 4 : looks);
    // Epochs are read once.
    refuse("GET of retention", since("retain get"), 2 * this.#options.lines.size);
    refuse("LIST of retention", since("retain list"), listPagesMax);
  }

  #isTroubled(fromMs: number, toMs: number): boolean {
    return this.#wasDisturbed(fromMs, toMs, [
      "outage",
      "flaky",
      "append-only",
      "skew",
      "restart",
      "failover",
      "restore-back",
      "policy",
      "branch",
    ]);
  }

  #wasDisturbed(fromMs: number, toMs: number, kinds: readonly Trouble["kind"][]): boolean {
    return this.#disturbances.some(
      (disturbance) =>
        disturbance.fromMs <= toMs &&
        disturbance.toMs >= fromMs &&
        kinds.includes(disturbance.kind),
    );
  }
}

/** What an hour merges was committed in it, or shortly before. */
const commitsBefore = 500;
/** Of epochs, and of everything. */
const listPagesMax = 16;
/** What a clock may be wrong by without its being noticed. */
const clockMarginMs = 6 * minute;
const retentionSlackMs = 3 * day;

/** When a file came into being, by whichever clock is later. */
function bornMs(file: LedgerFile): number {
  return Math.max(file.storedAtMs, file.timestampMs);
}

function ago(ms: number): string {
  return ms > 2 * day ? `${(ms / day).toFixed(1)} days` : `${(ms / minute).toFixed(0)} min`;
}
