/**
 * What a workload does next, as SQL text: the same for every writer that can run SQL.
 *
 * Invariants of the database that it writes:
 * - Each transaction that changes rows adds one row to `workload_log`, with the next id, in the same transaction.
 * - `workload_rows.sha256` is the digest of the row's body.
 * - `workload_log.payload_sha256` is the XOR of SHA-256("<id>:<sha256>") over all rows, as of that commit. So a database shows not only
 *   damaged rows but also rows too many, too few, or of another commit.
 */
import { createHash } from "node:crypto";
import type { Prng } from "./prng.ts";

/** One kind of step. All but `rollback`, `vacuum`, `incremental-vacuum` and `checkpoint` end in a commit with a row in the log. */
export type StatementKind =
  | "insert"
  | "update"
  | "delete"
  /** Random bodies of up to several pages: overflow chains. */
  | "blob"
  /** `zeroblob`: the file grows by pages that compress to nothing. */
  | "zeroblob"
  /** Tables and indexes come and go. */
  | "ddl"
  /** Many changes undone, with a cache so small that they reach the WAL before; or undone in part, by a savepoint. */
  | "rollback"
  | "vacuum"
  | "incremental-vacuum"
  /** All four kinds of `wal_checkpoint`, by the writer. A busy answer is fine. */
  | "checkpoint";

export const defaultStatementMix: Readonly<Record<StatementKind, number>> = {
  insert: 30,
  update: 25,
  delete: 15,
  blob: 10,
  zeroblob: 2,
  ddl: 2,
  rollback: 5,
  vacuum: 0.3,
  "incremental-vacuum": 1,
  checkpoint: 4,
};

export interface WorkloadPlanOptions {
  readonly name: string;
  readonly seed: number;
  readonly statements: Readonly<Partial<Record<StatementKind, number>>>;
  readonly rowBytesMax: number;
  readonly blobBytesMax: number;
  readonly rowsPerTransactionMax: number;
  /** Frames; `random` draws anew now and then; undefined leaves SQLite's default of 1,000. */
  readonly walAutocheckpoint: number | "random" | undefined;
  /** How long the writer waits for a lock. For checkpoints it is shortened, since they would wait so long for every reader. */
  readonly busyTimeoutMs: number;
}

export interface WorkloadStep {
  readonly kind: StatementKind | "big-transaction";
  /** To be run once, in order, in one go; a large transaction is made while it is read. */
  readonly sql: Iterable<string>;
  /** The id in `workload_log` that the step commits. */
  readonly commitId: number | undefined;
  /** To be called after the step succeeded; a step that failed and was rolled back is forgotten instead. */
  accept(): void;
}

export const defaultWorkloadName = "workload";

/** The tables of one writer. @param name - what their names begin with: two writers of one database have two names. */
export function workloadSchema(name: string): string {
  return `
  CREATE TABLE IF NOT EXISTS ${name}_log (id INTEGER PRIMARY KEY, seed INTEGER NOT NULL, payload_sha256 TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS ${name}_rows (id INTEGER PRIMARY KEY, body BLOB NOT NULL, sha256 TEXT NOT NULL);`;
}

const bigRowBytes = 65_536;
/**
 * So large that nothing spills but what is rolled back completely. SQLite up to at least 3.40 leaves committed frames unsealed when a
 * transaction spills, goes back to a savepoint, and goes on; a recovery then loses commits, or finds the database malformed.
 * That would be its defect, shown as one of whoever is tested.
 */
const largeCacheSql = "PRAGMA cache_size = -64000";
const words =
  "item folder login note secure vault identity card send attachment organisation collection".split(
    " ",
  );

/** The rows of a database and their digests, kept in memory so that each commit's log row can be computed without reading. */
export class WorkloadState {
  readonly #ids: number[] = [];
  readonly #rows = new Map<number, { index: number; sha256: string }>();
  lastCommitId = 0;
  digest = 0n;

  set(id: number, sha256: string): void {
    const row = this.#rows.get(id);
    if (row !== undefined) this.digest ^= rowDigest(id, row.sha256);
    this.digest ^= rowDigest(id, sha256);
    this.#rows.set(id, { index: row?.index ?? this.#ids.push(id) - 1, sha256 });
  }

  delete(id: number): void {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.digest ^= rowDigest(id, row.sha256);
    this.#rows.delete(id);
    const last = this.#ids.pop() as number;
    if (last === id) return;
    this.#ids[row.index] = last;
    (this.#rows.get(last) as { index: number }).index = row.index;
  }

  get count(): number {
    return this.#ids.length;
  }

  idAt(index: number): number {
    return this.#ids[index] as number;
  }

  sha256Of(id: number): string | undefined {
    return this.#rows.get(id)?.sha256;
  }
}

/** The contribution of a row to the digest of all. */
export function rowDigest(id: number, sha256: string): bigint {
  return BigInt(`0x${createHash("sha256").update(`${id}:${sha256}`).digest("hex")}`);
}

export function formatDigest(digest: bigint): string {
  return digest.toString(16).padStart(64, "0");
}

/** Draws the next step. Which one follows depends on the seed and on the rows that there are. */
export class WorkloadPlan {
  readonly #options: WorkloadPlanOptions;
  readonly #prng: Prng;
  readonly #state: WorkloadState;
  #nextRowId: number;

  constructor(options: WorkloadPlanOptions, prng: Prng, state: WorkloadState) {
    this.#options = options;
    this.#prng = prng;
    this.#state = state;
    this.#nextRowId = 1;
    for (let index = 0; index < state.count; index += 1) {
      this.#nextRowId = Math.max(this.#nextRowId, state.idAt(index) + 1);
    }
  }

  /** Settings of the connection, before the first step. */
  openingSql(): string[] {
    const autocheckpoint = this.#options.walAutocheckpoint;
    return [
      largeCacheSql,
      ...(autocheckpoint === undefined ? [] : [this.#autocheckpointSql(autocheckpoint)]),
    ];
  }

  next(): WorkloadStep {
    const kind = this.#prng.pickWeighted(this.#options.statements);
    switch (kind) {
      case "vacuum":
        return plainStep(kind, ["VACUUM"]);
      case "incremental-vacuum":
        return plainStep(kind, [`PRAGMA incremental_vacuum(${this.#prng.integer(1, 50)})`]);
      case "checkpoint":
        return plainStep(kind, this.#checkpointSql());
      case "rollback":
        return this.#prng.chance(0.5) ? this.#rollback() : this.#savepoint();
      default:
        return this.#transaction(kind, this.#changes(kind));
    }
  }

  /** One transaction that writes at least so many bytes, in rows of 64 KiB. */
  bigTransaction(bytes: number): WorkloadStep {
    return this.#transaction("big-transaction", this.#bigChanges(bytes));
  }

  #transaction(kind: WorkloadStep["kind"], changes: Iterable<Change>): WorkloadStep {
    const state = this.#state;
    const { seed, name } = this.#options;
    const commitId = state.lastCommitId + 1;
    const changed = new Map<number, string | undefined>();
    let digest = state.digest;
    function* sql(): Generator<string> {
      yield "BEGIN IMMEDIATE";
      for (const change of changes) {
        yield change.sql;
        if (change.id === undefined) continue;
        const before = changed.has(change.id) ? changed.get(change.id) : state.sha256Of(change.id);
        if (before !== undefined) digest ^= rowDigest(change.id, before);
        if (change.sha256 !== undefined) digest ^= rowDigest(change.id, change.sha256);
        changed.set(change.id, change.sha256);
      }
      yield `INSERT INTO ${name}_log VALUES (${commitId}, ${seed}, '${formatDigest(digest)}')`;
      yield "COMMIT";
    }
    return {
      kind,
      sql: sql(),
      commitId,
      accept() {
        for (const [id, sha256] of changed) {
          if (sha256 === undefined) state.delete(id);
          else state.set(id, sha256);
        }
        state.lastCommitId = commitId;
      },
    };
  }

  *#changes(kind: StatementKind): Generator<Change> {
    if (kind === "ddl") {
      yield { sql: this.#ddlSql() };
      return;
    }
    const count = this.#prng.integer(1, this.#options.rowsPerTransactionMax);
    for (let index = 0; index < count; index += 1) yield this.#change(kind);
  }

  *#bigChanges(bytes: number): Generator<Change> {
    for (let written = 0; written < bytes; written += bigRowBytes) {
      yield this.#insert(this.#prng.bytes(bigRowBytes));
    }
  }

  #change(kind: StatementKind): Change {
    if (kind === "zeroblob") {
      const length = this.#prng.integer(1, 4 * this.#options.blobBytesMax);
      return this.#insert(new Uint8Array(length), `zeroblob(${length})`);
    }
    if (kind === "blob") return this.#insert(this.#blob());
    if (kind === "insert" || this.#state.count === 0) return this.#insert(this.#text());
    const id = this.#state.idAt(this.#prng.integer(0, this.#state.count - 1));
    if (kind === "delete")
      return { id, sql: `DELETE FROM ${this.#options.name}_rows WHERE id = ${id}` };
    const body = this.#prng.chance(0.2) ? this.#blob() : this.#text();
    const sha256 = hexDigest(body);
    // A row that this same transaction has deleted must not count as there: an update of it changes nothing, an upsert does.
    const sql = `INSERT INTO ${this.#options.name}_rows VALUES (${id}, ${blobLiteral(body)}, '${sha256}') ON CONFLICT (id) DO UPDATE SET body = excluded.body, sha256 = excluded.sha256`;
    return { id, sha256, sql };
  }

  #insert(body: Uint8Array, literal: string = blobLiteral(body)): Change {
    const id = this.#nextRowId;
    this.#nextRowId += 1;
    const sha256 = hexDigest(body);
    return {
      id,
      sha256,
      sql: `INSERT INTO ${this.#options.name}_rows VALUES (${id}, ${literal}, '${sha256}')`,
    };
  }

  #text(): Uint8Array {
    const length = this.#prng.integer(1, this.#options.rowBytesMax);
    let text = "";
    while (text.length < length)
      text += `${this.#prng.pick(words)} ${this.#prng.integer(0, 9999)} `;
    return new TextEncoder().encode(text.slice(0, length));
  }

  #blob(): Uint8Array {
    return this.#prng.bytes(this.#prng.integer(1, this.#options.blobBytesMax));
  }

  /** Row ids of undone inserts are not used again, which is harmless. */
  #undoneChanges(): string[] {
    const count = 4 * this.#options.rowsPerTransactionMax + 20;
    const sql: string[] = [];
    for (let index = 0; index < count; index += 1) {
      sql.push(this.#change(this.#prng.pick(["insert", "update", "delete", "blob"])).sql);
    }
    return sql;
  }

  #rollback(): WorkloadStep {
    return plainStep("rollback", [
      // Ten pages of cache: the undone pages spill into the WAL, behind the last commit.
      "PRAGMA cache_size = 10",
      "BEGIN IMMEDIATE",
      ...this.#undoneChanges(),
      "ROLLBACK",
      largeCacheSql,
    ]);
  }

  #savepoint(): WorkloadStep {
    const undone: Change[] = [
      "SAVEPOINT undone",
      ...this.#undoneChanges(),
      "ROLLBACK TO undone",
    ].map((sql) => ({ sql }));
    return this.#transaction("rollback", [...undone, this.#insert(this.#text())]);
  }

  #ddlSql(): string {
    const { name } = this.#options;
    const scratch = `${name}_scratch_${this.#prng.integer(0, 7)}`;
    return this.#prng.pick([
      `CREATE TABLE IF NOT EXISTS ${scratch} (a TEXT, b BLOB)`,
      `DROP TABLE IF EXISTS ${scratch}`,
      `CREATE INDEX IF NOT EXISTS ${name}_rows_by_sha256 ON ${name}_rows (sha256)`,
      `DROP INDEX IF EXISTS ${name}_rows_by_sha256`,
    ]);
  }

  #checkpointSql(): string[] {
    const mode = this.#prng.pick(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]);
    const sql = [
      `PRAGMA busy_timeout = ${this.#prng.pick([0, 20])}`,
      `PRAGMA wal_checkpoint(${mode})`,
      `PRAGMA busy_timeout = ${this.#options.busyTimeoutMs}`,
    ];
    const autocheckpoint = this.#options.walAutocheckpoint;
    if (autocheckpoint === "random") sql.push(this.#autocheckpointSql(autocheckpoint));
    return sql;
  }

  #autocheckpointSql(autocheckpoint: number | "random"): string {
    const frames =
      autocheckpoint === "random" ? this.#prng.pick([0, 1, 7, 50, 200, 1000]) : autocheckpoint;
    return `PRAGMA wal_autocheckpoint = ${frames}`;
  }
}

interface Change {
  readonly sql: string;
  /** The row that changes; none for a statement that changes no row for good. */
  readonly id?: number;
  /** The digest of its new body; none for a deletion. */
  readonly sha256?: string;
}

function plainStep(kind: StatementKind, sql: readonly string[]): WorkloadStep {
  return { kind, sql, commitId: undefined, accept() {} };
}

function hexDigest(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

function blobLiteral(body: Uint8Array): string {
  return `x'${Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("hex")}'`;
}
