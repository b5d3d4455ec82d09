import type { ReplicaListing, Txid } from "wal-replicator";
import type { SpoolContents, TxidRange } from "./spool-contents.ts";

/** How the database here stands to the newest history in the store. */
export type PositionVerdict =
  /** It is the newest, or has more: the stream goes on. */
  | { readonly verdict: "current" }
  /** The store has all of it and more: an old volume comes back. */
  | { readonly verdict: "behind"; readonly why: string }
  /** Both have what the other lacks. */
  | { readonly verdict: "diverged"; readonly why: string };

export type Lineage = Pick<ReplicaListing, "head"> & {
  readonly epochs: readonly Pick<ReplicaListing["epochs"][number], "timeline">[];
  readonly timelines: readonly Pick<
    ReplicaListing["timelines"][number],
    "timeline" | "parent" | "files"
  >[];
};

/**
 * Compares the positions before the stream starts (architecture.md 5). Without it a volume that comes back after its vault has run
 * elsewhere would become the newest history: nothing would be lost in the store, but the vault would show the past.
 *
 * Pages are compared by nobody here: equal TXIDs of a timeline are taken for equal content, as its one writer wrote them.
 */
export function judgePosition(local: SpoolContents, lineage: Lineage): PositionVerdict {
  // A restored database may stand at an earlier moment on purpose. Without a capture there is nothing to compare.
  if (local.isRestored || local.txid === undefined) return { verdict: "current" };
  const { timelines } = lineage;
  const own = timelines.find(({ timeline }) => timeline === local.timeline);
  const highest = highestTxid(own?.files ?? []);
  const unstored = local.waiting.filter((range) => !isCovered(range, own?.files ?? []));
  if (lineage.epochs.at(-1)?.timeline === local.timeline || lineage.head === local.timeline) {
    if (local.txid >= highest) return { verdict: "current" };
    return behindOrDiverged(
      unstored,
      `the store has this timeline up to TXID ${highest}, and we are at ${local.txid}`,
    );
  }

  const branch = branchTxid(lineage, local.timeline);
  if (branch === undefined) {
    return {
      verdict: "diverged",
      why: `the newest history in the store (timeline ${lineage.head}) does not come from ours (timeline ${local.timeline})`,
    };
  }
  if (local.txid > branch) {
    return {
      verdict: "diverged",
      why: `the newest history in the store (timeline ${lineage.head}) left ours at TXID ${branch}, and we are at ${local.txid}`,
    };
  }
  return behindOrDiverged(
    unstored,
    `the newest history in the store (timeline ${lineage.head}) goes on from where we are`,
  );
}

function behindOrDiverged(unstored: readonly TxidRange[], why: string): PositionVerdict {
  if (unstored.length === 0) return { verdict: "behind", why };
  return {
    verdict: "diverged",
    why: `${why}; but ${unstored.length} captured files here never reached the store`,
  };
}

/** Where the head's history left the timeline; undefined if it does not come from it. */
function branchTxid({ head, timelines }: Lineage, ancestor: string): Txid | undefined {
  const seen = new Set<string>(); // foreign records may name each other in a circle
  let name: string | undefined = head ?? undefined;
  while (name !== undefined && !seen.has(name)) {
    seen.add(name);
    const parent: { timeline: string; txid: Txid } | null | undefined = timelines.find(
      ({ timeline }) => timeline === name,
    )?.parent;
    if (parent?.timeline === ancestor) return parent.txid;
    name = parent?.timeline;
  }
  return undefined;
}

function highestTxid(files: readonly TxidRange[]): bigint {
  let highest = 0n;
  for (const { maxTxid } of files) if (maxTxid > highest) highest = maxTxid;
  return highest;
}

export function isCovered(range: TxidRange, files: readonly TxidRange[]): boolean {
  return files.some(({ minTxid, maxTxid }) => minTxid <= range.minTxid && maxTxid >= range.maxTxid);
}
