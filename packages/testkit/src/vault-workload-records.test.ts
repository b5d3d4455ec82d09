import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  expectationsAt,
  readVaultRecords,
  type VaultRecord,
  VaultRecordLog,
} from "./vault-workload-records.ts";

const record = (
  at: number,
  phase: VaultRecord["phase"],
  state: VaultRecord["state"],
  sha256?: string,
): VaultRecord => ({
  at,
  phase,
  kind: "attachment",
  id: "a",
  itemId: "i",
  state,
  ...(sha256 === undefined ? {} : { sha256 }),
});

const created = record(1, "acknowledged", "stored", "1");
const replacing = record(2, "begun", "stored", "2");
const replaced = record(3, "acknowledged", "stored", "2");
const deleting = record(4, "begun", "deleted");

describe("expectationsAt", () => {
  const possible = (records: VaultRecord[], at: number) =>
    expectationsAt(records, at).get("a")?.possible;

  test("knows nothing of what was acknowledged later, or never", () => {
    expect(possible([created], 0)).toBeUndefined();
    expect(possible([replacing], 9)).toBeUndefined();
  });

  test("lets everything be possible that was begun after the settled state", () => {
    expect(possible([created, replacing, replaced, deleting], 1)).toEqual([
      created,
      replacing,
      replaced,
      deleting,
    ]);
    expect(possible([created, replacing, replaced, deleting], 9)).toEqual([replaced, deleting]);
    expect(possible([created, replacing], 9)).toEqual([created, replacing]);
  });

  test("settles what was unsettled by what a new life found", () => {
    const found = record(5, "found", "stored", "1");
    expect(possible([created, replacing, found], 9)).toEqual([found]);
  });
});

describe("VaultRecordLog", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "records-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test("goes on behind a line that a kill has torn", () => {
    const path = join(directory, "records.jsonl");
    const first = new VaultRecordLog(path);
    first.append(created);
    first.close();
    appendFileSync(path, '{"at":2,"phase":"beg');
    expect(readVaultRecords(path)).toEqual([created]);
    const second = new VaultRecordLog(path);
    expect(second.records).toEqual([created]);
    second.append(replaced);
    second.close();
    expect(readVaultRecords(path)).toEqual([created, replaced]);
    expect(readFileSync(path, "utf8").split("\n")).toHaveLength(3);
  });

  test("does not take a missing or damaged file for an empty one", () => {
    expect(() => readVaultRecords(join(directory, "none"))).toThrow("ENOENT");
    writeFileSync(join(directory, "damaged"), "{}\n{\n");
    expect(() => readVaultRecords(join(directory, "damaged"))).toThrow(SyntaxError);
  });
});
