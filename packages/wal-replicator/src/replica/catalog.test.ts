import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import { Catalog, type ReplicaFile } from "./catalog.ts";

function file(level: number, min: number, max: number, at = 0): ReplicaFile {
  return {
    timeline: "t",
    level,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
    key: `${level}:${min}-${max}`,
    size: 131,
    createdAt: new Date(at),
  };
}

describe("Catalog", () => {
  it("keeps each level sorted, whatever the order of arrival", () => {
    const catalog = new Catalog([file(0, 3, 3), file(1, 1, 2), file(0, 1, 1), file(0, 2, 2)]);
    expect(catalog.level(0).map((each) => each.key)).toEqual(["0:1-1", "0:2-2", "0:3-3"]);
    expect(catalog.files.map((each) => each.level)).toEqual([0, 0, 0, 1]);
    expect(catalog.level(7)).toEqual([]);
  });

  it("takes the highest TXID over all levels, for level 0 may be empty", () => {
    expect(new Catalog().highestTxid).toBeUndefined();
    expect(new Catalog([file(9, 1, 40), file(1, 1, 30)]).highestTxid).toBe(40n);
  });

  it("holds a range once: the first file known for it", () => {
    const first = file(0, 1, 1, 5);
    const catalog = new Catalog([first, file(0, 1, 1, 9)]);
    expect(catalog.level(0)).toEqual([first]);
    expect(catalog.newestTimestampMs).toBe(9);
  });

  it("forgets what was deleted, and that range alone; a TXID that was there is not given again", () => {
    const catalog = new Catalog([1, 2, 3, 4].map((txid) => file(0, txid, txid)));
    catalog.add(file(1, 1, 4));
    for (const gone of [
      file(0, 4, 4),
      file(0, 2, 2),
      file(0, 2, 3),
      file(2, 1, 4),
      file(0, 9, 9),
    ]) {
      catalog.remove(gone);
    }
    expect(catalog.files.map(({ key }) => key)).toEqual(["0:1-1", "0:3-3", "1:1-4"]);
    catalog.remove(file(1, 1, 4));
    expect(catalog.level(1)).toEqual([]);
    expect(catalog.highestTxid).toBe(4n);
    catalog.add(file(0, 2, 2));
    expect(catalog.level(0).map(({ maxTxid }) => maxTxid)).toEqual([1n, 2n, 3n]);
  });
});
