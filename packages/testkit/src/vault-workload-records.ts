/** What a vault workload has done, one line an operation, appended before and after each call: it survives the death of everybody. */
import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import type { StoredKind } from "./vault-client.ts";

export interface VaultRecord {
  /** Milliseconds since 1970. */
  readonly at: number;
  /**
   * `begun`: the call is about to be sent, from now on it may have happened. `acknowledged`: the server has answered with success.
   * `found`: a new life of the workload met the vault so; what was unsettled before is settled by it.
   */
  readonly phase: "begun" | "acknowledged" | "found";
  readonly kind: StoredKind;
  readonly id: string;
  /** Of an attachment: whose it is. */
  readonly itemId?: string;
  readonly state: "stored" | "deleted";
  /** Of the stored file, or of the column `name` of a row without one. Missing with `stored`: a row whose file was never stored. */
  readonly sha256?: string;
  /** Bytes. */
  readonly size?: number;
}

/** What is known of one object at a moment. */
export interface Expectation {
  /** The last settled state. */
  readonly settled: VaultRecord;
  /** It, and what later operations may have made of it. */
  readonly possible: readonly VaultRecord[];
}

/** A line is written in one call, so that a kill leaves it whole, or torn at the end of the file, where the next life removes it. */
export class VaultRecordLog {
  readonly #descriptor: number;
  readonly records: VaultRecord[];

  constructor(path: string) {
    this.records = [];
    if (existsSync(path)) {
      this.records.push(...readVaultRecords(path));
      truncateSync(path, readFileSync(path).lastIndexOf("\n") + 1);
    }
    this.#descriptor = openSync(path, "a");
  }

  append(record: VaultRecord): void {
    this.records.push(record);
    writeSync(this.#descriptor, `${JSON.stringify(record)}\n`);
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

/** All records of a workload, oldest first. A torn last line, which nobody relied on yet, is left out. @throws {Error} if the file is not there. */
export function readVaultRecords(path: string): VaultRecord[] {
  // Behind the last line feed is nothing, or a torn line.
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as VaultRecord);
}

/**
 * What is settled until `untilMs`, by id; what was only begun until then is left out.
 *
 * @param records - in the order in which they were written.
 */
export function expectationsAt(
  records: readonly VaultRecord[],
  untilMs: number,
): Map<string, Expectation> {
  const expectations = new Map<string, Expectation>();
  for (const record of records) {
    const known = expectations.get(record.id);
    if (record.phase !== "begun" && record.at <= untilMs) {
      expectations.set(record.id, { settled: record, possible: [record] });
    } else if (known !== undefined) {
      expectations.set(record.id, { ...known, possible: [...known.possible, record] });
    }
  }
  return expectations;
}
