import type { Trouble } from "./scenario.ts";
import { day, hour } from "./virtual-clock.ts";

/** What was wrong, and when: laws about time count only where nothing was in the way. */
export class Disturbances {
  readonly #all: {
    readonly kind: Trouble["kind"];
    readonly fromMs: number;
    readonly toMs: number;
  }[] = [];

  add(kind: Trouble["kind"], fromMs: number, toMs: number): void {
    // Where nothing could be deleted it is tried again a day later.
    const isForbidden = kind === "append-only";
    this.#all.push({ kind, fromMs, toMs: isForbidden ? toMs + day + hour : toMs });
  }

  /** Whether anything was in the way of maintenance at some moment in between. */
  isTroubled(fromMs: number, toMs: number): boolean {
    return this.#all.some(
      (one) => one.kind !== "no-drill" && one.fromMs <= toMs && one.toMs >= fromMs,
    );
  }
}
