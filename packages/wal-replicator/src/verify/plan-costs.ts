import { ancestorsOf, type TimelineListing } from "../list-replica.ts";
import type { Txid } from "../ltx/txid.ts";
import { type RecoveryPoint, recoveryPoints } from "../recovery-points.ts";
import type { ReplicaFile } from "../replica/catalog.ts";

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

  #points(timeline: string, without: ReadonlySet<string> = new Set()): RecoveryPoint[] {
    const ancestors = ancestorsOf(timeline, (name) => this.#find(name)?.parent ?? null);
    const inherited = ancestors.flatMap((part) =>
      this.#filesOf(part.timeline).filter(({ maxTxid }) => maxTxid <= part.txid),
    );
    const usable = [...this.#filesOf(timeline), ...inherited].filter(
      ({ key }) => !without.has(key),
    );
    return recoveryPoints(usable);
  }

  #find(timeline: string): TimelineListing | undefined {
    return this.#timelines.find((candidate) => candidate.timeline === timeline);
  }

  #filesOf(timeline: string): readonly ReplicaFile[] {
    return this.#find(timeline)?.files ?? [];
  }
}
