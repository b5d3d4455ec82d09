import type { Txid } from "../ltx/txid.ts";

/** Both clocks at once: the monotonic one stands still while the machine is suspended, and the wall clock may be set. */
interface Moment {
  readonly now: number;
  readonly nowMs: number;
}

/**
 * When the copy was last known to have all that was stored.
 *
 * That the next level-0 file is not there proves it again only if no more time has gone by than any such file lies there: it might have been
 * stored, merged and pruned meanwhile. A policy keeps level 0 for a minute at the very least, an hour by default; stock for five minutes.
 * What the writer claims in its lease, and the copy has not, disproves it.
 */
export class RecentProof {
  readonly #clocks: { readonly now: () => number; readonly nowMs: () => number };
  readonly #validMs: number;
  #provedAt: Moment | undefined;
  /** From when on nothing that the copy lacks can have been pruned. */
  #trustedAt: Moment | undefined;
  #claimed: { readonly timeline: string; readonly txid: Txid } | undefined;

  constructor(deps: {
    readonly now: () => number;
    readonly nowMs: () => number;
    readonly pollIntervalMs: number;
  }) {
    this.#clocks = deps;
    this.#validMs = Math.max(validMsMin, 2 * deps.pollIntervalMs);
  }

  /** Of the newest proof, in milliseconds since the Unix epoch. */
  get atMs(): number | undefined {
    return this.#provedAt?.now;
  }

  /** Now: to be taken before a request, since what comes between it and its answer is not seen. */
  moment(): Moment {
    return { now: this.#clocks.now(), nowMs: this.#clocks.nowMs() };
  }

  /** The copy has all that was stored at that moment. */
  prove(moment: Moment): void {
    this.#provedAt = moment;
    this.#trustedAt = moment;
    this.#claimed = undefined;
  }

  /** A file was found at that moment. If it was young, what follows it is younger and not pruned yet. */
  noteFile(moment: Moment, ageMs: number | undefined): void {
    if (ageMs !== undefined && ageMs <= validMsMin) this.#trustedAt = moment;
  }

  /** The writer says that it has stored so much. */
  claim(position: { readonly timeline: string; readonly txid: Txid }): void {
    this.#claimed = position;
  }

  /** Whether the copy at this position has everything if the next file is not there. */
  isRecent({ timeline, txid }: { readonly timeline: string; readonly txid: Txid }): boolean {
    const since = this.#trustedAt;
    if (since === undefined) return false;
    const claimed = this.#claimed;
    if (claimed?.timeline === timeline && claimed.txid > txid) return false;
    const { now, nowMs } = this.moment();
    return Math.max(now - since.now, nowMs - since.nowMs) <= this.#validMs;
  }
}

const validMsMin = 45_000;
