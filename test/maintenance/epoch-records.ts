import { type EpochRecord, formatTimelineName } from "wal-replicator/internals";
import { positionOf } from "./daemon.ts";
import type { Line } from "./line.ts";
import { draw } from "./troubled-store.ts";

/** How a process begins. */
export interface Begun {
  /** In this timeline; else in one of its own, which leaves that one there. */
  readonly timeline: string | undefined;
  readonly parent: { readonly line: Line; readonly txid: number } | undefined;
  /** Default: it claims the replica. */
  readonly kind?: EpochRecord["kind"];
}

/** What says so in the store. Nonces come from the seed. */
export function makeRecord(
  seed: number,
  epoch: number,
  { timeline, parent, kind = "writer" }: Begun,
  nowMs: number,
): Omit<EpochRecord, "keyedByNonce"> {
  const words = [0, 1, 2, 3].map((index) => draw(seed, `nonce ${epoch} ${index}`) * 2 ** 32);
  const nonce = words.map((word) => Math.floor(word).toString(16).padStart(8, "0")).join("");
  return {
    version: 1,
    epoch,
    nonce,
    kind,
    owner: {
      host: "simulated",
      pid: 1,
      installation: { hostId: "", spoolInode: "1", spoolBornAt: "1" },
    },
    timeline: timeline ?? formatTimelineName(epoch, nonce),
    parent: positionOf({ parent }),
    startedAt: new Date(nowMs).toISOString(),
  };
}
