import { expect, it } from "vitest";
import { parseTxid, type Txid } from "wal-replicator";
import { judgePosition, type Lineage } from "./judge-position.ts";
import type { SpoolContents } from "./spool-contents.ts";

function txid(value: number): Txid {
  return parseTxid(value.toString(16).padStart(16, "0")) as Txid;
}

function local(
  timeline: string,
  at: number | undefined,
  rest: Partial<SpoolContents> = {},
): SpoolContents {
  return {
    timeline,
    txid: at === undefined ? undefined : txid(at),
    isRestored: false,
    waiting: [],
    ...rest,
  };
}

/** Timelines oldest first, each with its highest TXID and where it branched off; the last one with a file is the head. */
function store(
  ...timelines: readonly (readonly [string, number, (readonly [string, number])?])[]
): Lineage {
  return {
    head: timelines.findLast(([, highest]) => highest > 0)?.[0] ?? "",
    epochs: timelines.map(([timeline]) => ({ timeline })),
    timelines: timelines
      .filter(([, highest]) => highest > 0)
      .map(([timeline, highest, parent]) => ({
        timeline,
        parent: parent === undefined ? null : { timeline: parent[0], txid: txid(parent[1]) },
        files: Array.from({ length: highest }, (_, index) => ({
          timeline,
          level: 0,
          minTxid: txid(index + 1),
          maxTxid: txid(index + 1),
          key: `${timeline}/${index + 1}`,
          size: 1,
          createdAt: new Date(0),
        })),
      })),
  };
}

const waiting = (at: number): Pick<SpoolContents, "waiting"> => ({
  waiting: [{ minTxid: txid(at), maxTxid: txid(at) }],
});

it.each<[string, SpoolContents, Lineage, string]>([
  ["same timeline, same position", local("1", 5), store(["1", 5]), "current"],
  ["same timeline, ahead after a crash", local("1", 6, waiting(6)), store(["1", 5]), "current"],
  ["same timeline, behind", local("1", 3), store(["1", 5]), "behind"],
  ["behind, with a file whose mark was lost", local("1", 3, waiting(3)), store(["1", 5]), "behind"],
  [
    "the head branched off where we are",
    local("1", 5),
    store(["1", 5], ["2", 8, ["1", 5]]),
    "behind",
  ],
  ["the head branched off later", local("1", 3), store(["1", 5], ["2", 8, ["1", 5]]), "behind"],
  [
    "two branches later",
    local("1", 3),
    store(["1", 5], ["2", 8, ["1", 5]], ["3", 9, ["2", 8]]),
    "behind",
  ],
  [
    "the head branched off before where we are",
    local("1", 5),
    store(["1", 5], ["2", 8, ["1", 3]]),
    "diverged",
  ],
  [
    "behind, with a file that never arrived",
    local("1", 5, waiting(6)),
    store(["1", 5], ["2", 8, ["1", 5]]),
    "diverged",
  ],
  [
    "a dead branch",
    local("2", 8),
    store(["1", 5], ["2", 8, ["1", 5]], ["3", 7, ["1", 5]]),
    "diverged",
  ],
  ["the store of another vault", local("9", 5), store(["1", 5]), "diverged"],
  [
    "our new timeline, of which nothing arrived yet",
    local("2", 6, waiting(6)),
    store(["1", 5], ["2", 0]),
    "current",
  ],
  [
    "somebody began a timeline after us and wrote nothing",
    local("1", 5),
    store(["1", 5], ["2", 0]),
    "current",
  ],
  [
    "restored to an earlier moment on purpose",
    local("1", 3, { isRestored: true }),
    store(["1", 5]),
    "current",
  ],
  ["nothing captured yet", local("2", undefined), store(["1", 5], ["2", 0]), "current"],
])("%s", (_, here, there, verdict) => {
  expect(judgePosition(here, there).verdict).toBe(verdict);
});

it("ends on records that name each other in a circle", () => {
  const circle = store(["1", 5, ["2", 3]], ["2", 5, ["1", 3]]);
  expect(judgePosition(local("9", 1), circle).verdict).toBe("diverged");
});
