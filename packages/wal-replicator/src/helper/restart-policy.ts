/** Before the first, second, … start again within the window; more ends than these are no accident any more. */
const backoffMs = [0, 100, 500, 2_000] as const;
const windowMs = 60_000;

/** When a helper that ended by itself is started again. Pure: the clock comes in from outside. */
export class RestartPolicy {
  #crashesMs: number[] = [];

  /**
   * Counts an end.
   *
   * @param nowMs - monotonic, in milliseconds.
   * @returns how long to wait before the next start, in milliseconds; undefined if there should be none.
   */
  onCrash(nowMs: number): number | undefined {
    this.#crashesMs = this.#crashesMs.filter((crashMs) => nowMs - crashMs < windowMs);
    this.#crashesMs.push(nowMs);
    return backoffMs[this.#crashesMs.length - 1];
  }
}
