import { formatTxid, type ReplicationEvent, type Txid } from "wal-replicator";

/** Where the database's stream stands: what a manifest is tied to. */
export interface StreamPlace {
  readonly timeline: string;
  readonly epoch: number;
  /** 16 hex digits: the newest TXID that is captured. */
  readonly txid: string;
}

/**
 * Follows the stream's events. A manifest that begins now belongs to what is captured by now: files are looked at after it, so they are never
 * older than the database in the same recovery point.
 */
export class StreamPlaceTracker {
  #timeline: string | undefined;
  #epoch: number | undefined;
  #txid: Txid | undefined;
  #parent: { readonly timeline: string; readonly txid: string } | undefined;

  readonly #known = Promise.withResolvers<void>();

  /** Resolves when something is captured: until then nothing is known that a file could belong to. */
  get known(): Promise<void> {
    return this.#known.promise;
  }

  note(event: ReplicationEvent): void {
    if (event.type === "started") {
      this.#timeline = event.timeline;
      this.#epoch = event.epoch ?? undefined;
      const { parent } = event;
      if (parent !== null && !event.continued) this.#txid = parent.txid;
      this.#parent = parent
        ? { timeline: parent.timeline, txid: formatTxid(parent.txid) }
        : undefined;
    }
    // Until what is captured has a place of its own again, a manifest would lie among another owner's.
    if (event.type === "fenced") this.#epoch = undefined;
    if (event.type === "epoch-taken") {
      this.#timeline = event.timeline;
      this.#epoch = event.epoch;
    }
    if (event.type === "captured") this.begin(event.txid);
    // What was captured after it gets its TXIDs again.
    if (event.type === "spool-merged") this.#txid = event.into;
  }

  /** @param txid - where the stream stands: one that goes on where it was says so in no event. */
  begin(txid: Txid): void {
    this.#txid = txid;
    this.#known.resolve();
  }

  /** What this timeline branched from. */
  get parent(): { readonly timeline: string; readonly txid: string } | undefined {
    return this.#parent;
  }

  /** Undefined until the epoch is ours and something was captured: without the store, nothing can be stored anyway. */
  get current(): StreamPlace | undefined {
    const [timeline, epoch, txid] = [this.#timeline, this.#epoch, this.#txid];
    if (timeline === undefined || epoch === undefined || txid === undefined) return undefined;
    return { timeline, epoch, txid: formatTxid(txid) };
  }
}
