import type { MaintenancePolicy } from "wal-replicator/internals";

/** What was promised while: the policies that were in force, oldest first. */
export class Promises {
  readonly #policies: { readonly fromMs: number; readonly policy: MaintenancePolicy }[];

  constructor(fromMs: number, policy: MaintenancePolicy) {
    this.#policies = [{ fromMs, policy }];
  }

  get current(): MaintenancePolicy {
    return (this.#policies.at(-1) as { policy: MaintenancePolicy }).policy;
  }

  change(fromMs: number, policy: MaintenancePolicy): void {
    this.#policies.push({ fromMs, policy });
  }

  /** For how long each level's precision is kept, of what was captured at that time: what was let go once does not come back. */
  keepMs(atMs: number): number[] {
    const since = this.#policies.filter(
      (_, index) => (this.#policies[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY) > atMs,
    );
    return this.current.keepMs.map((_, level) =>
      Math.min(...since.map(({ policy }) => policy.keepMs[level] as number)),
    );
  }

  /** Of what can be asked for at this age, in milliseconds; 0: every change. Undefined: nothing is promised. */
  precisionMs(atMs: number, nowMs: number): number | undefined {
    const level = this.keepMs(atMs).findIndex((ms) => nowMs - atMs <= ms);
    if (level === -1) return undefined;
    return level === 0 ? 0 : (this.current.levelIntervalsMs[level - 1] as number);
  }

  /** The longest that any policy so far has kept a level for. */
  keepMsMax(level: number, withinMs: number, nowMs: number): number {
    const since = this.#policies.filter(
      (_, index) =>
        (this.#policies[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY) > nowMs - withinMs,
    );
    return Math.max(...since.map(({ policy }) => policy.keepMs[level] as number));
  }
}
