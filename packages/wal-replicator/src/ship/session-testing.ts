/** A clock for sessions in tests: time passes only when the test says so. */
export class SimulatedClock {
  ms: number = Date.UTC(2026, 0, 1);
  #sleepers: { readonly untilMs: number; readonly wake: () => void }[] = [];

  /** The most that slept at the same time: whoever is not among them is at work. */
  sleepingMost: number = 0;

  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const sleeper = { untilMs: this.ms + ms, wake: resolve };
      this.#sleepers.push(sleeper);
      this.sleepingMost = Math.max(this.sleepingMost, this.sleeping);
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        resolve();
      };
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  advance(ms: number): void {
    this.ms += ms;
    const due = this.#sleepers.filter(({ untilMs }) => untilMs <= this.ms);
    this.#sleepers = this.#sleepers.filter(({ untilMs }) => untilMs > this.ms);
    for (const { wake } of due) wake();
  }
}

export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
