/** Holds a vault's data directory against what a workload was told: no acknowledged row is missing, and every row has its file. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { runTypeScriptChild } from "./child-process.ts";
import type { StoredKind } from "./vault-client.ts";
import { type Expectation, expectationsAt, type VaultRecord } from "./vault-workload-records.ts";

export interface VaultDirectory {
  readonly dataFolder: string;
  /** Default `<dataFolder>/db.sqlite3`; the others accordingly. */
  readonly databasePath?: string;
  readonly attachmentsFolder?: string;
  readonly sendsFolder?: string;
}

export interface CheckVaultOptions {
  /** Milliseconds since 1970: what was settled until then must be there. What came later may be there. */
  readonly olderThan: number;
  /** The same for the bytes of files, where they may lag behind their rows. Default `olderThan`. */
  readonly filesOlderThan?: number;
}

export interface VaultProblem {
  readonly code:
    | "row-missing"
    /** An older state than the acknowledged one. */
    | "row-differs"
    | "row-not-deleted"
    | "file-missing"
    | "file-differs"
    /** Neither the old nor the new bytes of a replacement without an answer: lawful where the server was killed, and nowhere else. */
    | "file-torn";
  /** What was acknowledged. */
  readonly record: VaultRecord;
  readonly message: string;
}

export interface VaultCheck {
  /** Empty if the directory has everything that it must have. */
  readonly problems: readonly VaultProblem[];
  /** How many rows had to be there. A check of none proves nothing. */
  readonly rows: number;
  /** How many files had to be there with their digest. */
  readonly files: number;
}

/** A row as the check's child prints it. */
export interface StoredRow {
  readonly kind: StoredKind;
  readonly id: string;
  /** Below the folder of its kind. */
  readonly file?: string;
  /** Of the column `name`, where there is no file. */
  readonly sha256?: string;
}

const entry = fileURLToPath(new URL("./vault-workload-main.ts", import.meta.url));

/**
 * Checks a data directory, restored or live; the database is read from a copy that a child makes, so nothing is changed. Files are read
 * where they are: nobody may write them meanwhile.
 *
 * @param records - of one or more workloads; those of each in the order in which they were written.
 * @throws {Error} if the database or a file cannot be read: that is no missing row.
 */
export async function checkVault(
  directory: VaultDirectory,
  records: readonly VaultRecord[],
  options: CheckVaultOptions,
): Promise<VaultCheck> {
  const { dataFolder } = directory;
  const folders = {
    attachment: directory.attachmentsFolder ?? join(dataFolder, "attachments"),
    "file-send": directory.sendsFolder ?? join(dataFolder, "sends"),
  };
  const rows = await readRows(directory.databasePath ?? join(dataFolder, "db.sqlite3"));
  const problems: VaultProblem[] = [];
  let rowCount = 0;
  for (const [id, expectation] of expectationsAt(records, options.olderThan)) {
    if (mustBeStored(expectation)) rowCount += 1;
    problems.push(...checkRow(expectation, rows.get(id)));
  }
  let fileCount = 0;
  const filesOlderThan = options.filesOlderThan ?? options.olderThan;
  for (const [id, expectation] of expectationsAt(records, filesOlderThan)) {
    const { kind } = expectation.settled;
    const file = rows.get(id)?.file;
    if (file === undefined || (kind !== "attachment" && kind !== "file-send")) continue;
    if (expectation.possible.every(({ sha256 }) => sha256 !== undefined)) fileCount += 1;
    problems.push(...(await checkFile(expectation, join(folders[kind], file))));
  }
  return { problems, rows: rowCount, files: fileCount };
}

function mustBeStored({ possible }: Expectation): boolean {
  return possible.every(({ state }) => state === "stored");
}

function checkRow({ settled, possible }: Expectation, row: StoredRow | undefined): VaultProblem[] {
  const stored = possible.filter(({ state }) => state === "stored");
  if (row === undefined) {
    return stored.length < possible.length ? [] : [problem("row-missing", settled)];
  }
  if (stored.length === 0) return [problem("row-not-deleted", settled)];
  if (row.file !== undefined || stored.some(({ sha256 }) => sha256 === row.sha256)) return [];
  return [problem("row-differs", settled)];
}

async function checkFile(
  { settled, possible }: Expectation,
  path: string,
): Promise<VaultProblem[]> {
  // Its file was never stored, or may be gone already: of a deletion, the row can be the last to go.
  if (possible.some(({ sha256 }) => sha256 === undefined)) return [];
  const digest = await digestOf(path);
  if (digest === undefined) return [problem("file-missing", settled, path)];
  if (possible.some(({ sha256 }) => sha256 === digest)) return [];
  return [problem(possible.length === 1 ? "file-differs" : "file-torn", settled, path)];
}

function problem(code: VaultProblem["code"], record: VaultRecord, path?: string): VaultProblem {
  const time = new Date(record.at).toISOString();
  const what = `${record.kind} ${record.id}, ${record.state} at ${time} (${record.phase})`;
  return { code, record, message: `${code}: ${what}${path === undefined ? "" : `: ${path}`}` };
}

/** @returns undefined if there is no such file. */
async function digestOf(path: string): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return hash.digest("hex");
}

async function readRows(databasePath: string): Promise<ReadonlyMap<string, StoredRow>> {
  const { stdout } = await runTypeScriptChild(entry, { arguments: ["rows", databasePath] });
  return new Map((JSON.parse(stdout) as StoredRow[]).map((row) => [row.id, row]));
}
