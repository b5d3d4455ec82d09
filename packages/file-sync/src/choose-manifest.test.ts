import { describe, expect, it } from "vitest";
import {
  chooseManifest,
  earlierManifests,
  type Lineage,
  laterManifests,
} from "./choose-manifest.ts";
import { compareManifests, type ManifestRef } from "./manifest-key.ts";

const txid = (value: number): string => value.toString(16).padStart(16, "0");

function ref(
  timeline: string,
  sequence: number,
  at: { readonly txid?: number; readonly time?: number; readonly epoch?: number } = {},
): ManifestRef {
  const { epoch = 1, time = sequence } = at;
  return { timeline, epoch, sequence, txid: txid(at.txid ?? sequence), time: new Date(time) };
}

describe("the manifest of a moment", () => {
  it("is the last by epoch and sequence, whatever its clock said, that is not after the moment", () => {
    const early = ref("t", 1, { time: 50 });
    const wrongClock = ref("t", 2, { time: 10 });
    const laterEpoch = ref("t", 1, { epoch: 2, time: 40 });
    const refs = [laterEpoch, early, wrongClock];
    expect(chooseManifest(refs, [{ timeline: "t" }])).toBe(laterEpoch);
    expect(chooseManifest(refs, [{ timeline: "t" }], new Date(45))).toBe(laterEpoch);
    expect(chooseManifest(refs, [{ timeline: "t" }], new Date(40))).toBe(laterEpoch);
    expect(chooseManifest(refs, [{ timeline: "t" }], new Date(39))).toBe(wrongClock);
    expect(chooseManifest(refs, [{ timeline: "t" }], new Date(9))).toBeUndefined();
  });

  it("is an ancestor's where the newer timeline has none yet, and none that was written after the branch", () => {
    const parent = [1, 2, 3].map((sequence) => ref("parent", sequence));
    const child = ref("child", 1, { epoch: 2, txid: 3, time: 9 });
    const lineage: Lineage = [{ timeline: "child" }, { timeline: "parent", upToTxid: txid(2) }];
    const refs = [...parent, child, ref("stranger", 1, { epoch: 9, time: 1 })];
    expect(chooseManifest(refs, lineage)).toBe(child);
    expect(chooseManifest(refs, lineage, new Date(8))).toBe(parent[1]);
    expect(chooseManifest(refs, lineage, new Date(1))).toBe(parent[0]);
    expect(laterManifests(refs, lineage, parent[0] as ManifestRef)).toEqual([parent[1], child]);
    expect(laterManifests(refs, lineage, child)).toEqual([]);
    expect(laterManifests(refs, lineage, undefined)).toEqual([parent[0], parent[1], child]);
    expect(earlierManifests(refs, lineage, child)).toEqual([parent[1], parent[0]]);
    expect(earlierManifests(refs, lineage, parent[0] as ManifestRef)).toEqual([]);
    expect(() => laterManifests(refs, lineage, parent[2] as ManifestRef)).toThrow(RangeError);
  });

  /** Every set of up to four manifests over two timelines, with every time and TXID of three, against the rule written down naively. */
  it("agrees with the rule in every small case", () => {
    const every: ManifestRef[] = [];
    for (const timeline of ["a", "b"]) {
      for (const sequence of [1, 2]) {
        for (const time of [1, 2]) {
          for (const at of [1, 2]) every.push(ref(timeline, sequence, { time, txid: at }));
        }
      }
    }
    const isFree = (refs: readonly ManifestRef[], other: ManifestRef): boolean =>
      refs.every((one) => one.timeline !== other.timeline || one.sequence !== other.sequence);
    let sets: ManifestRef[][] = [[]];
    for (const one of every) {
      sets = sets.flatMap((set) => (isFree(set, one) ? [set, [one, ...set]] : [set]));
    }
    const lineages: Lineage[] = [
      [{ timeline: "a" }],
      [{ timeline: "b" }, { timeline: "a" }],
      [{ timeline: "b" }, { timeline: "a", upToTxid: txid(1) }],
    ];
    for (const refs of sets) {
      for (const lineage of lineages) {
        for (const at of [undefined, new Date(0), new Date(1), new Date(2)]) {
          const chosen = chooseManifest(refs, lineage, at);
          expect(chosen).toBe(chooseNaively(refs, lineage, at));
          if (chosen === undefined) continue;
          // What follows is in order, and is all that the moment cut off or that came later.
          const later = laterManifests(refs, lineage, chosen);
          expect(chooseManifest(refs, lineage)).toBe(later.at(-1) ?? chosen);
        }
      }
    }
    expect(sets).toHaveLength(625);
  });
});

function chooseNaively(
  refs: readonly ManifestRef[],
  lineage: Lineage,
  at: Date | undefined,
): ManifestRef | undefined {
  for (const { timeline, upToTxid } of lineage) {
    let best: ManifestRef | undefined;
    for (const one of refs) {
      if (one.timeline !== timeline) continue;
      if (upToTxid !== undefined && BigInt(`0x${one.txid}`) > BigInt(`0x${upToTxid}`)) continue;
      if (at !== undefined && one.time.getTime() > at.getTime()) continue;
      if (best === undefined || compareManifests(best, one) < 0) best = one;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}
