/** When maintenance runs, and nothing else: at the time that its last step named, and when something was stored. */
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
  #isWoken = false;
  #wake: () => void = () => {};

  constructor(deps: MaintenanceLoopDeps) {
    this.#deps = deps;
  }

  /** Whether a step is. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** Has it look again: now, or when the step under way is over. */
  wake(): void {
    this.#isWoken = true;
    this.#wake();
  }

  /** Runs until the signal is aborted, which ends a step under way too. @throws what a step threw before. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isWoken = false;
      let nextMs: number;
      this.#isUnderWay = true;
      try {
        nextMs = await this.#deps.step(signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      } finally {
        this.#isUnderWay = false;
      }
      await this.#pause(nextMs - this.#deps.now(), signal);
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isWoken) return;
    const over = new AbortController();
    this.#wake = () => over.abort();
    signal.addEventListener("abort", this.#wake, { once: true });
    if (signal.aborted) over.abort();
    await this.#deps.sleep(Math.min(Math.max(ms, sleepMsMin), sleepMsMax), over.signal);
    signal.removeEventListener("abort", this.#wake);
    this.#wake = () => {};
  }
}
