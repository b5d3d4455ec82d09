/** For tests: a clock that stands still until somebody moves it, and what sleeps by it. */
export class VirtualTime {
  nowMs = 0;
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];

  readonly sleep = (ms: number): Promise<void> =>
    new Promise((wake) => this.#sleepers.push({ atMs: this.nowMs + ms, wake }));

  /** Whether anybody waits for a moment. */
  get isAwaited(): boolean {
    return this.#sleepers.length > 0;
  }

  /** Moves the clock from one sleeper to the next; each has had its turn before the clock goes on. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      await settle();
      const next = this.#sleepers.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
      next.wake();
    }
    this.nowMs = untilMs;
    await settle();
  }
}

/** Everything that only waits for other code of this process gets on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
