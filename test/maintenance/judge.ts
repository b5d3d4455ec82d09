import { createPrng } from "@vaultwarden-stream/testkit";
import { prefix, timelinesUnder } from "./daemon.ts";
import { LawBroken } from "./law-broken.ts";
import { Laws } from "./laws.ts";
import { Ledger } from "./ledger.ts";
import type { Line } from "./line.ts";
import type { Promises } from "./promises.ts";
import { type Position, type ProvenPoint, Referee } from "./referee.ts";
import { RequestBudget } from "./request-budget.ts";
import type { Scenario } from "./scenario.ts";
import type { RequestCounts } from "./troubled-store.ts";
import { hour, type VirtualClock } from "./virtual-clock.ts";

export interface JudgeOptions {
  readonly scenario: Scenario;
  readonly clock: VirtualClock;
  readonly lines: () => ReadonlyMap<string, Line>;
  readonly promises: Promises;
  readonly pruneEveryMs: number;
  readonly log: ((line: string) => void) | undefined;
}

/** What of a position a judge has to be told. */
export type Situation = Pick<Position, "head" | "storedTxid"> & {
  /** Newest first: one of these two is the proven point for who has not asked again yet. */
  readonly proven: readonly ProvenPoint[];
};

/** Looks after each event at what was noticed, and after each step that changed something at all that has to hold. */
export class Judge {
  readonly ledger: Ledger;
  readonly laws: Laws;
  readonly referee: Referee;
  readonly #options: JudgeOptions;
  readonly #budget: RequestBudget;
  #checkedChanges = 0;
  #checkedMs = Number.NEGATIVE_INFINITY;
  checks = 0;

  constructor(options: JudgeOptions) {
    const { scenario, clock, lines, promises, pruneEveryMs, log } = options;
    const { listsTimestamps, seed } = scenario;
    this.#options = options;
    this.laws = new Laws({ clock, lines, promises, listsTimestamps, pruneEveryMs });
    this.#budget = new RequestBudget(promises, this.laws.disturbances);
    const now = () => new Date(clock.nowMs).toISOString();
    this.ledger = new Ledger({
      timelinesPrefix: `${prefix}${timelinesUnder}`,
      listsTimestamps,
      nowMs: () => clock.nowMs,
      captured: ({ timeline, max }) => (lines().get(timeline) as Line).state(max).change,
      onStored: (file) => {
        log?.(`${now()} stored ${file.key} of ${new Date(file.timestampMs).toISOString()}`);
        this.laws.stored(file);
      },
      onDeleted: (file) => {
        log?.(`${now()} deleted ${file.key}`);
        this.laws.deleted(file);
      },
      onManifestDeleted: (ref) => this.laws.manifestDeleted(ref, this.ledger.files),
    });
    this.referee = new Referee(this.ledger, createPrng((seed ^ 0x7feb_352d) >>> 0));
  }

  /** After an event. @throws {LawBroken} */
  judge(situation: Situation | undefined, counts: RequestCounts, head: Line): void {
    const [problem] = [this.ledger, this.ledger.files, this.laws].flatMap(
      ({ problems }) => problems,
    );
    if (problem !== undefined) throw new LawBroken(problem);
    const { scenario, clock, lines } = this.#options;
    this.#budget.look(clock.nowMs, counts, head.last, lines().size);
    const isChanged = this.ledger.changes !== this.#checkedChanges;
    const fromMs = this.#checkedMs + checkEveryMs[scenario.density];
    if (situation !== undefined && isChanged && clock.nowMs >= fromMs) this.check(situation);
  }

  /** @throws {LawBroken} */
  check({ head, storedTxid, proven }: Situation): void {
    const { clock, lines, promises, scenario } = this.#options;
    const { nowMs } = clock;
    this.#checkedChanges = this.ledger.changes;
    this.#checkedMs = nowMs;
    this.checks += 1;
    this.referee.check({
      ...{ nowMs, head, storedTxid, promises },
      lines: lines(),
      proven: proven[0],
      isBlurred: (fromMs, toMs) => this.laws.disturbances.isTroubled(fromMs, toMs),
      listsTimestamps: scenario.listsTimestamps,
    });
    this.laws.check(this.ledger, proven);
  }
}

/** After a step that changed something, but not more often than this: a dense vault's files are thousands. */
const checkEveryMs = { dense: hour, sparse: 0 } as const;
