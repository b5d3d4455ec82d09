/** How long a file may stay as short as it is before its upload counts as broken off: the server writes without a pause. */
const abandonedMs = 120_000;

/** Since when files that are shorter than their rows say have had the size that they have. */
export class UnfinishedFiles {
  readonly #nowMs: () => number;
  readonly #seen = new Map<string, { readonly size: number; readonly sinceMs: number }>();

  /** @param nowMs - a monotonic clock. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Asked at every look: the first time that a size is seen is when its time begins. */
  isAbandoned(path: string, size: number): boolean {
    const seen = this.#seen.get(path);
    if (seen?.size === size) return this.#nowMs() - seen.sinceMs >= abandonedMs;
    this.#seen.set(path, { size, sinceMs: this.#nowMs() });
    return false;
  }
}
