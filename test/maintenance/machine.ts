import type { Prng } from "@vaultwarden-stream/testkit";
import type { Machine } from "./daemon.ts";
import type { CapturedState, Line } from "./line.ts";
import { type CommitKind, ModelDatabase, type PageIds } from "./model-database.ts";
import { ModelVault } from "./model-vault.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** What all machines of a simulation have in common. */
export interface World {
  readonly clock: VirtualClock;
  /** Of the workload alone: troubles do not change what is written. */
  readonly prng: Prng;
  readonly nextPageId: () => number;
  /** Digest → bytes. */
  readonly contents: Map<string, Uint8Array>;
  /** Of the commits, those that bring or take an attachment. */
  readonly rowShare: number;
}

/** Where a machine begins. */
export interface Beginning {
  readonly pages: PageIds;
  readonly tree: ReadonlyMap<string, string>;
  readonly rows: CapturedState["rows"];
  /** No state of its own is dated before it. */
  readonly timestampMsMin: number;
}

/** A machine with a vault: what is committed there is captured at once, and waits in its spool. */
export class VaultMachine implements Machine {
  line: Line;
  readonly vault: ModelVault;
  readonly spool: CapturedState[] = [];
  storedTxid: number;
  readonly #world: World;
  readonly #database: ModelDatabase;
  #timestampMs: number;
  #copied: { readonly txid: number; readonly timestampMs: number } | undefined;

  constructor(world: World, line: Line, begin?: Beginning) {
    const { prng, nextPageId, contents } = world;
    this.#world = world;
    this.line = line;
    this.storedTxid = line.last;
    this.#database = new ModelDatabase(prng, nextPageId, begin?.pages);
    this.vault = new ModelVault(prng, contents, begin?.tree, begin?.rows);
    this.#timestampMs = begin?.timestampMsMin ?? 0;
  }

  get pages(): PageIds {
    return this.#database.ids;
  }

  commit(): void {
    const { prng, clock, rowShare } = this.#world;
    const isFirst = this.line.last === 0;
    const kind: CommitKind = isFirst ? "full-copy" : prng.pickWeighted(commitWeights);
    if (prng.chance(rowShare)) this.vault.changeRows(clock.nowMs);
    const change = this.#database.commit(kind);
    const { hash, rollingChecksum } = this.#database;
    const state = {
      txid: this.line.last + 1,
      atMs: clock.nowMs,
      timestampMs: this.#nextTimestampMs(),
      hash,
      rollingChecksum,
      rows: this.vault.rows,
      change,
    };
    this.line.add(state);
    this.spool.push(state);
  }

  fullCopy(): ReturnType<Machine["fullCopy"]> {
    const txid = this.line.last;
    // As the engine: a copy of one state is the same file however often it is made.
    if (this.#copied?.txid !== txid) this.#copied = { txid, timestampMs: this.#nextTimestampMs() };
    const { rollingChecksum } = this.#database;
    const { timestampMs } = this.#copied;
    return { change: this.#database.fullCopy(), rollingChecksum, timestampMs };
  }

  /** Goes on in a new timeline: what is not stored yet is its own. */
  branchTo(line: Line): void {
    for (const state of this.spool) line.add(state);
    this.line = line;
  }

  #nextTimestampMs(): number {
    this.#timestampMs = Math.max(this.#timestampMs, Math.floor(this.#world.clock.engineMs));
    return this.#timestampMs;
  }
}

const commitWeights = { write: 900, grow: 60, shrink: 35, "full-copy": 5 } as const;
