/**
 * The time of a simulation: the store's clock is the true one, and moves only when it is told to. The machine's clock differs from it by
 * `skewMs`, and what the engine takes for the store's clock is the machine's, corrected by the difference that it saw last.
 */
export class VirtualClock {
  #nowMs: number;
  #skewMs = 0;
  #knownOffsetMs = 0;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  /** By the store, in milliseconds since the Unix epoch. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** By the machine's own clock. */
  get machineMs(): number {
    return this.#nowMs + this.#skewMs;
  }

  /** What the engine believes the store's clock to say. */
  get engineMs(): number {
    return this.machineMs + this.#knownOffsetMs;
  }

  get isSkewed(): boolean {
    return this.#skewMs !== 0 || this.#knownOffsetMs !== 0;
  }

  /** Never goes back. */
  advanceTo(ms: number): void {
    this.#nowMs = Math.max(this.#nowMs, ms);
  }

  setSkew(skewMs: number): void {
    this.#skewMs = skewMs;
  }

  /** An answer of the store told its time. */
  see(): void {
    this.#knownOffsetMs = -this.#skewMs;
  }
}

export const second = 1_000;
export const minute: number = 60 * second;
export const hour: number = 60 * minute;
export const day: number = 24 * hour;

/** For messages. */
export function ago(ms: number): string {
  return ms > 2 * day ? `${(ms / day).toFixed(1)} days` : `${(ms / minute).toFixed(0)} min`;
}
