import type { Prng } from "@vaultwarden-stream/testkit";
import type { Density } from "./scenario.ts";
import { day, hour, minute, second } from "./virtual-clock.ts";

/**
 * When the next commit comes. Dense: in working hours bursts of a commit a second, some minutes apart; single commits at night and on
 * Sundays. Sparse: a commit or a few every hour, some right before a window ends, with long pauses and an odd burst that is more than one merge takes.
 */
export class Workload {
  readonly #prng: Prng;
  readonly #density: Density;
  #burstLeft = 0;

  constructor(prng: Prng, density: Density) {
    this.#prng = prng;
    this.#density = density;
  }

  nextMs(nowMs: number): number {
    const prng = this.#prng;
    if (this.#burstLeft > 0) {
      this.#burstLeft -= 1;
      return nowMs + prng.integer(900, 1_100);
    }
    if (this.#density === "sparse") {
      if (prng.chance(0.4)) this.#burstLeft = prng.chance(0.01) ? 150 : prng.integer(1, 8);
      const nextMs = nowMs + second + this.#pause(prng.chance(0.03) ? 4 * hour : 50 * minute);
      return prng.chance(0.3) ? this.#rightBefore(nextMs) : nextMs;
    }
    const hourOfDay = (nowMs % day) / hour;
    const weekday = new Date(nowMs).getUTCDay();
    const isBusy = hourOfDay >= 8 && hourOfDay < 18 && weekday !== 0;
    if (isBusy) this.#burstLeft = prng.integer(5, 90);
    return nowMs + second + this.#pause(isBusy ? 25 * minute : 3 * hour);
  }

  /** The end of a window that is not before this moment, which then cuts a burst in two. */
  #rightBefore(ms: number): number {
    const windowMs = 15 * minute;
    const endMs = Math.ceil(ms / windowMs) * windowMs;
    return Math.max(ms, endMs - this.#prng.integer(0, 4 * second));
  }

  #pause(meanMs: number): number {
    return Math.round(-Math.log(1 - this.#prng.float()) * meanMs);
  }
}
