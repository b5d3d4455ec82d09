import { describe, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { planRestore, type RestorePlanOutcome } from "./plan-restore.ts";

/** `"0:3-5@7"`: level 0, TXIDs 3 to 5, made at 7 (default: at its max). */
function files(text: string): ReplicaFile[] {
  return text.split(" ").map((entry) => {
    const match = /^(\d):(\d+)-(\d+)(?:@(\d+))?$/.exec(entry);
    if (match === null) throw new Error(`no file: ${entry}`);
    const [, level, min, max, at] = match;
    return {
      timeline: "",
      level: Number(level),
      minTxid: toTxid(Number(min)),
      maxTxid: toTxid(Number(max)),
      key: `${level}:${min}-${max}`,
      size: 200,
      createdAt: new Date(Number(at ?? max)),
    };
  });
}

function show(outcome: RestorePlanOutcome): string {
  if (outcome.outcome === "no-base") return "no-base";
  const keys = outcome.files.map((file) => file.key).join(" ");
  if (outcome.outcome === "hole") return `hole after ${keys} before ${outcome.next.key}`;
  return outcome.outcome === "plan" ? keys : `not-reached after ${keys}`;
}

describe("planRestore", () => {
  it("begins with the newest snapshot and takes the longest steps from there", () => {
    const listing = files("9:1-4 9:1-9 3:1-8 2:9-11 1:10-12 0:10-10 0:11-11 0:12-12 0:13-13");
    expect(show(planRestore(listing))).toBe("9:1-9 1:10-12 0:13-13");
  });

  it("restores without any snapshot if some file begins at TXID 1", () => {
    expect(show(planRestore(files("3:1-8 0:9-9")))).toBe("3:1-8 0:9-9");
  });

  it("does not take a file of level 9 for a base that begins later than TXID 1", () => {
    expect(show(planRestore(files("9:1-4 9:5-9 0:5-5")))).toBe("9:1-4 0:5-5");
  });

  it("reaches exactly the TXID that was asked for, or says where it stopped", () => {
    const listing = files("9:1-4 1:5-8 0:7-7 0:8-8 0:9-9");
    expect(show(planRestore(listing, { txid: toTxid(9) }))).toBe("9:1-4 1:5-8 0:9-9");
    expect(show(planRestore(listing, { txid: toTxid(8) }))).toBe("9:1-4 1:5-8");
    // TXID 7 is inside a merged file, and level 0 is pruned before it: no hole, but out of reach.
    expect(show(planRestore(listing, { txid: toTxid(7) }))).toBe("not-reached after 9:1-4");
    expect(show(planRestore(listing, { txid: toTxid(3) }))).toBe("no-base");
  });

  it("takes no file of the asked moment or later", () => {
    const listing = files("0:1-1@10 0:2-2@20 0:3-3@30");
    expect(show(planRestore(listing, { before: new Date(30) }))).toBe("0:1-1 0:2-2");
    expect(show(planRestore(listing, { before: new Date(31) }))).toBe("0:1-1 0:2-2 0:3-3");
    expect(show(planRestore(listing, { before: new Date(10) }))).toBe("no-base");
  });

  it("names a hole in every mode, unless what was asked for lies before it", () => {
    const listing = files("9:1-4 0:5-5 0:7-7 0:8-8");
    const hole = "hole after 9:1-4 0:5-5 before 0:7-7";
    expect(show(planRestore(listing))).toBe(hole);
    expect(show(planRestore(listing, { txid: toTxid(8) }))).toBe(hole);
    expect(show(planRestore(listing, { before: new Date(9) }))).toBe(hole);
    expect(show(planRestore(listing, { txid: toTxid(5) }))).toBe("9:1-4 0:5-5");
  });

  it("says which moment it reaches", () => {
    const plan = planRestore(files("0:1-1@10 0:2-2@20"), { before: new Date(100) });
    expect(plan).toMatchObject({ outcome: "plan", txid: 2n, createdAt: new Date(20) });
  });
});
