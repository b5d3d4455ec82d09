/** The newest frame of each page, ascending by pgno. */
export interface LatestFrames {
  /** Entries in use; the arrays may be longer. */
  readonly count: number;
  readonly pgnos: Uint32Array;
  /** `frameIndexes[i]` belongs to `pgnos[i]`. */
  readonly frameIndexes: Uint32Array;
}

const initialCapacity = 256;

/**
 * Which frame holds which page, in 8 bytes a frame: a transaction of a million frames must not become a million objects.
 *
 * Frames count once `commit` was called behind them; `latest` forgets the others.
 */
export class FrameLog {
  /** Pairs of u32 that sort as one u64: by pgno, then by frame. */
  #pairs = new Uint32Array(initialCapacity * 2);
  #count = 0;
  #committedCount = 0;

  add(pgno: number, frameIndex: number): void {
    if (this.#count * 2 === this.#pairs.length) {
      const grown = new Uint32Array(this.#pairs.length * 2);
      grown.set(this.#pairs);
      this.#pairs = grown;
    }
    const at = this.#count * 2;
    this.#pairs[at + highHalf] = pgno;
    this.#pairs[at + (1 - highHalf)] = frameIndex;
    this.#count += 1;
  }

  /** Everything added so far belongs to committed transactions. */
  commit(): void {
    this.#committedCount = this.#count;
  }

  /** Committed frames. */
  get frameCount(): number {
    return this.#committedCount;
  }

  /**
   * The newest committed frame of each page up to `commit`, the size of the database in pages: what lies beyond was cut off
   * by a later transaction. The arrays are the caller's.
   */
  latest(commit: number): LatestFrames {
    this.#count = this.#committedCount;
    // The order of arrival is not needed again, so the log itself is sorted.
    new BigUint64Array(this.#pairs.buffer, 0, this.#count).sort();
    const pgnos = new Uint32Array(this.#count);
    const frameIndexes = new Uint32Array(this.#count);
    let count = 0;
    for (let at = 0; at < this.#count * 2; at += 2) {
      const pgno = this.#pairs[at + highHalf] as number;
      if (pgno > commit) break;
      if (count > 0 && pgnos[count - 1] === pgno) count -= 1;
      pgnos[count] = pgno;
      frameIndexes[count] = this.#pairs[at + (1 - highHalf)] as number;
      count += 1;
    }
    return { count, pgnos, frameIndexes };
  }
}

/** Which of the two u32 is the upper half of a u64 on this machine. */
const highHalf = new Uint32Array(new BigUint64Array([1n]).buffer)[0] === 1 ? 1 : 0;
