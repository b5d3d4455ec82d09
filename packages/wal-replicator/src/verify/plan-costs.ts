import type { TimelineListing } from "../list-replica.ts";
import type { Txid } from "../ltx/txid.ts";
import { lineFiles } from "../maintain/line-files.ts";
import { type RecoveryPoint, recoveryPoints } from "../recovery-points.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import type { LevelGap } from "./plan-chain.ts";

/** Instants that cannot be restored. A restore to a time between `from` and `to` gives the state of `from`, or none. */
export interface InstantsLost {
  readonly timeline: string;
  /** The last instant before them that can; null: there is none. */
  readonly from: Date | null;
  /** The first one after them that can; null: there is none. */
  readonly to: Date | null;
  /** States that files are there for, and that cannot be restored. Those whose files are missing cannot be counted. */
  readonly pointCount: number;
}

/** What a replica can restore, with all its files and without some of them. */
export class Costs {
  readonly #timelines: readonly TimelineListing[];
  readonly #whole: ReadonlyMap<string, readonly RecoveryPoint[]>;

  constructor(timelines: readonly TimelineListing[]) {
    this.#timelines = timelines;
    this.#whole = new Map(timelines.map(({ timeline }) => [timeline, this.#points(timeline)]));
  }

  /** What is lost of every timeline without these files; nothing where others make up for them. */
  without(keys: ReadonlySet<string>): InstantsLost[] {
    return this.#timelines.flatMap(({ timeline }): InstantsLost[] => {
      const whole = this.#whole.get(timeline) ?? [];
      const left = new Set(this.#points(timeline, keys).map(({ txid }) => txid));
      const lost = whole.filter(({ txid }) => !left.has(txid));
      const [first] = lost;
      const last = lost.at(-1);
      if (first === undefined || last === undefined) return [];
      return [
        {
          timeline,
          from: whole.findLast(({ txid }) => txid < first.txid && left.has(txid))?.at ?? null,
          to: whole.find(({ txid }) => txid > last.txid && left.has(txid))?.at ?? null,
          pointCount: lost.length,
        },
      ];
    });
  }

  /** What a hole costs its timeline: up to the next file that restores without what is missing. */
  ofHole(timeline: string, minTxid: Txid, maxTxid: Txid): InstantsLost {
    const points = this.#whole.get(timeline) ?? [];
    const before = points.findLast(({ txid }) => txid < minTxid);
    const after = points.find(({ txid }) => txid > maxTxid);
    const reached = new Set(points.map(({ txid }) => txid));
    const useless = new Set(
      this.#filesOf(timeline)
        .map((file) => file.maxTxid)
        .filter((txid) => txid >= minTxid && !reached.has(txid))
        .filter((txid) => after === undefined || txid < after.txid),
    );
    return {
      timeline,
      from: before?.at ?? null,
      to: after?.at ?? null,
      pointCount: useless.size,
    };
  }

  /** What a gap within one level costs that other levels bridge: the states between their ends. Nothing, where another level has them all. */
  ofThinned({ level, minTxid, maxTxid }: LevelGap, timeline: string): InstantsLost[] {
    const points = this.#whole.get(timeline) ?? [];
    const inside = points.filter(({ txid }) => txid >= minTxid && txid <= maxTxid);
    // At level 0 each TXID is a state; of a file of a higher level only its end is, and the gap ends with one.
    const isWhole =
      level === 0
        ? BigInt(inside.length) === maxTxid - minTxid + 1n
        : inside.at(-1)?.txid === maxTxid;
    if (isWhole) return [];
    const before = points.findLast(({ txid }) => txid < minTxid);
    const after = points.find(({ txid }) => txid >= minTxid);
    return [{ timeline, from: before?.at ?? null, to: after?.at ?? null, pointCount: 0 }];
  }

  /** What is lost with a timeline that nobody finds: every state that a file of it ends at. */
  ofTimeline(timeline: string): InstantsLost[] {
    const ends = new Set(this.#filesOf(timeline).map(({ maxTxid }) => maxTxid));
    return [{ timeline, from: null, to: null, pointCount: ends.size }];
  }

  /** Ends of a timeline's own files that nothing reaches, ascending. */
  unreachable(timeline: string): ReplicaFile[] {
    const reached = new Set((this.#whole.get(timeline) ?? []).map(({ txid }) => txid));
    return this.#filesOf(timeline)
      .filter(({ maxTxid }) => !reached.has(maxTxid))
      .toSorted((a, b) => (a.maxTxid < b.maxTxid ? -1 : 1));
  }

  #points(timeline: string, without: ReadonlySet<string> = new Set()): RecoveryPoint[] {
    const parentOf = (name: string) => this.#find(name)?.parent ?? null;
    const line = lineFiles(timeline, parentOf, (name) => this.#filesOf(name));
    return recoveryPoints(line.filter(({ key }) => !without.has(key)));
  }

  #find(timeline: string): TimelineListing | undefined {
    return this.#timelines.find((candidate) => candidate.timeline === timeline);
  }

  #filesOf(timeline: string): readonly ReplicaFile[] {
    return this.#find(timeline)?.files ?? [];
  }
}
