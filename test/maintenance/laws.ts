import type { ManifestRef } from "@vaultwarden-stream/file-sync";
import { Disturbances } from "./disturbances.ts";
import type { Files } from "./file-ledger.ts";
import { LawBroken } from "./law-broken.ts";
import type { Ledger, LedgerFile, Levels } from "./ledger.ts";
import { Lifetimes, type LifetimesOptions } from "./lifetimes.ts";
import type { Line } from "./line.ts";
import type { ProvenPoint } from "./referee.ts";
import { ago, hour, minute, second } from "./virtual-clock.ts";

const snapshotLevel = 9;

export interface LawsOptions extends Omit<LifetimesOptions, "disturbances"> {
  readonly listsTimestamps: boolean;
}

/**
 * What holds of the store's content whatever was asked of it: the shape of the levels and of each file, that nothing goes too early, and nothing
 * stays too long.
 *
 * Not verified: how long anything takes; what happens while a store loses or changes what it has.
 */
export class Laws {
  /** Found at once, where nothing may be thrown. */
  readonly problems: string[] = [];
  head: Line | undefined;
  readonly #options: LawsOptions;
  readonly disturbances: Disturbances = new Disturbances();
  readonly #lifetimes: Lifetimes;
  /** By timeline and level: the range that was stored last. */
  readonly #last = new Map<string, { readonly min: number; readonly max: number }>();
  /** By timeline and level: every TXID that a file ended with. */
  readonly #ends = new Map<string, Set<number>>();
  /** By timeline. */
  readonly #lastSnapshotMs = new Map<string, number>();

  constructor(options: LawsOptions) {
    this.#options = options;
    this.#lifetimes = new Lifetimes({ ...options, disturbances: this.disturbances });
  }

  stored(file: LedgerFile): void {
    const { timeline, level, min, max, key } = file;
    const line = this.#options.lines().get(timeline);
    if (line === undefined) {
      this.problems.push(`${key} is of a timeline that nobody has begun`);
      return;
    }
    this.#lifetimes.stored(file);
    const state = line.state(max);
    if (file.rollingChecksum !== state.rollingChecksum) {
      this.problems.push(
        `${key} was stored with the rolling checksum of another state than TXID ${max}`,
      );
    }
    if (level === snapshotLevel) {
      if (min !== 1) this.problems.push(`${key} is a snapshot that does not begin with TXID 1`);
      this.#checkSnapshotPause(file);
      return;
    }
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
    if (this.disturbances.isTroubled(lastMs - hour, storedAtMs)) return;
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
    const lastMs = this.#lifetimes.lastStoredMs(timeline);
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

  check(ledger: Ledger, proven: readonly ProvenPoint[]): void {
    const { nowMs } = this.#options.clock;
    // What was in the way of maintenance is given time to be caught up with.
    const isCalm = !this.disturbances.isTroubled(nowMs - 3 * hour, nowMs);
    for (const timeline of ledger.timelines) this.#checkShape(ledger, timeline, proven, isCalm);
    if (this.head === undefined || !isCalm) return;
    this.#lifetimes.check(ledger, this.head, proven);
  }

  #checkShape(
    ledger: Ledger,
    timeline: string,
    proven: readonly ProvenPoint[],
    isCalm: boolean,
  ): void {
    const levels = ledger.levels(timeline);
    const count = [...levels.values()].reduce((sum, files) => sum + files.length, 0);
    if (count === 0) return;
    if ((levels.get(0)?.length ?? 0) === 0 && !this.#isGoing(timeline)) {
      throw new LawBroken(`level 0 of ${timeline} is empty, and ${count} files are left of it`);
    }
    // What a dead line or a proven point needs stays where everything around it went.
    const alone = Math.max(
      0,
      ...proven.map(({ txid }) => txid),
      ...[...this.#options.lines().values()].flatMap((line) =>
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
        // Several are deleted at once, and some of the deletes fail; or some stay for longer, for a clock was wrong when what holds them was first seen.
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
    const lastMs = this.#lifetimes.lastStoredMs(timeline);
    return clock.nowMs > lastMs + (promises.keepMs(lastMs).at(-1) as number);
  }

  /** Whether files of higher levels hold all of these TXIDs. */
  #isHeld(levels: Levels, level: number, from: number, to: number): boolean {
    let next = from;
    for (let before = 0; next <= to && next > before; ) {
      before = next;
      for (const [higher, files] of levels) {
        if (higher <= level) continue;
        for (const { min, max } of files) if (min <= next && max >= next) next = max + 1;
      }
    }
    return next > to;
  }
}

/** What a clock may be wrong by without its being noticed. */
const clockMarginMs = 6 * minute;
