/** When maintenance runs, and nothing else: at the time that its last step named, and some time after something was stored. */
export interface MaintenanceLoopDeps {
  /** Does what is due. @returns when to look again, in milliseconds since the Unix epoch. Throws what ends the stream. */
  readonly step: (signal: AbortSignal) => Promise<number>;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Resolves after the time, or at once when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** A time that has passed and made nothing due must not keep the processor busy. */
const sleepMsMin = 100;
/** Of a timer. */
const sleepMsMax = 2 ** 31 - 1;

export class MaintenanceLoop {
  readonly #deps: MaintenanceLoopDeps;
  #isUnderWay = false;
  /** When the next step is due, by `now`. Infinity while none of the reasons for one is known. */
  #dueMs = Number.POSITIVE_INFINITY;
  #rouse: () => void = () => {};

  constructor(deps: MaintenanceLoopDeps) {
    this.#deps = deps;
  }

  /** Whether a step is. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** Has it look again within the time, in milliseconds; at the earliest when the step under way is over. */
  wake(withinMs: number): void {
    const dueMs = this.#deps.now() + withinMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    this.#rouse();
  }

  /** Runs until the signal is aborted, which ends a step under way too. @throws what a step threw before. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#isUnderWay = true;
      try {
        const nextMs = await this.#deps.step(signal);
        this.#dueMs = Math.min(this.#dueMs, Math.max(nextMs, this.#deps.now() + sleepMsMin));
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      } finally {
        this.#isUnderWay = false;
      }
      while (await this.#pause(signal));
    }
  }

  /** @returns whether the time has changed meanwhile for which it was meant to be. */
  async #pause(signal: AbortSignal): Promise<boolean> {
    const ms = this.#dueMs - this.#deps.now();
    if (ms <= 0 || signal.aborted) return false;
    const over = new AbortController();
    this.#rouse = () => over.abort();
    signal.addEventListener("abort", this.#rouse, { once: true });
    await this.#deps.sleep(Math.min(ms, sleepMsMax), over.signal);
    signal.removeEventListener("abort", this.#rouse);
    this.#rouse = () => {};
    return over.signal.aborted;
  }
}
