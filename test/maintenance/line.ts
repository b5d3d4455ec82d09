import type { PageChange, StateHash } from "./model-database.ts";

/** What the vault's rows name, and what they say of it: path → digest. Never changed; a change makes a new one. */
export type Rows = ReadonlyMap<string, string>;

/** A state of the database that was committed and captured. */
export interface CapturedState {
  readonly txid: number;
  /** When, by the true clock. */
  readonly atMs: number;
  /** What its LTX file says: by the clock that the engine believed in, and never before the one before it. */
  readonly timestampMs: number;
  readonly hash: StateHash;
  readonly rollingChecksum: string;
  readonly rows: Rows;
  /** What its own LTX file holds. */
  readonly change: PageChange;
}

/** One timeline as it was really written: the truth that every restore is compared with. */
export class Line {
  readonly name: string;
  readonly parent: { readonly line: Line; readonly txid: number } | undefined;
  readonly #states: CapturedState[] = [];

  constructor(name: string, parent?: { readonly line: Line; readonly txid: number }) {
    this.name = name;
    this.parent = parent;
  }

  /** TXID of the first state of its own. */
  get first(): number {
    return (this.parent?.txid ?? 0) + 1;
  }

  /** The newest TXID of its own; its parent's if it has none. */
  get last(): number {
    return this.first + this.#states.length - 1;
  }

  add(state: CapturedState): void {
    if (state.txid !== this.last + 1) throw new Error(`TXID ${state.txid} after ${this.last}`);
    this.#states.push(state);
  }

  /** Its own or an ancestor's. */
  state(txid: number): CapturedState {
    if (txid < this.first && this.parent !== undefined && txid <= this.parent.txid) {
      return this.parent.line.state(txid);
    }
    const state = this.#states[txid - this.first];
    if (state === undefined) throw new Error(`${this.name} never had TXID ${txid}`);
    return state;
  }

  /** Itself and its ancestors, the newest first, each with the last of its TXIDs that counts. */
  *lineage(): Generator<{ readonly line: Line; readonly upTo: number }> {
    let upTo = Number.POSITIVE_INFINITY;
    let line: Line | undefined = this;
    while (line !== undefined) {
      yield { line, upTo };
      upTo = Math.min(upTo, line.parent?.txid ?? 0);
      line = line.parent?.line;
    }
  }

  /** The newest state of the lineage whose file's time is before `beforeMs`; undefined: there was none. */
  newestBefore(beforeMs: number): CapturedState | undefined {
    for (const { line, upTo } of this.lineage()) {
      const count = Math.min(upTo - line.first + 1, line.#states.length);
      // Times never decrease within a line.
      let low = 0;
      let high = Math.max(0, count);
      while (low < high) {
        const middle = (low + high) >>> 1;
        const state = line.#states[middle] as CapturedState;
        if (state.timestampMs < beforeMs) low = middle + 1;
        else high = middle;
      }
      if (low > 0) return line.#states[low - 1];
    }
    return undefined;
  }
}
