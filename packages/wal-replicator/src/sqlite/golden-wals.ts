import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { formatSalt } from "./salt.ts";
import { type BuiltFrame, buildWal, headerOf } from "./wal-builder.ts";
import { decodeFrameHeader, frameHeaderBytes, frameOffset, walFrameBytes } from "./wal-frame.ts";
import type { WalStop } from "./wal-reader.ts";

/**
 * WALs by real SQLite, one case a directory of `fixtures/`, and what must be read from them. Test support only.
 *
 * What counts is not decided by our reader: a copy of the files is opened by SQLite, which recovers the WAL, and is asked how many
 * frames it took, how many pages there are, and what they hold. Only the reason to stop is stated by hand, per case.
 *
 * `node --conditions=@vaultwarden-stream/source golden-wals.ts` writes the fixtures anew (other salts, so all bytes change).
 */
export interface GoldenCase {
  readonly name: string;
  readonly stop: WalStop;
  build(database: BetterSqlite3.Database, snapshot: () => WalFiles): WalFiles;
}

/** The database file and its WAL at one moment. */
export interface WalFiles {
  readonly database: Uint8Array;
  readonly wal: Uint8Array;
}

export interface ExpectedScan {
  readonly stop: WalStop;
  /** `formatWalPosition` of the end. */
  readonly end: string;
  /** Size in pages. */
  readonly commit: number;
  /** [pgno, frameIndex], ascending. */
  readonly latest: readonly (readonly [number, number])[];
  /** Pages behind the end of the database file that the WAL does not hold. */
  readonly growthOutsideWal: readonly number[];
  /** Of all pages as SQLite reads them. */
  readonly contentSha256: string;
  readonly databaseSha256: string;
  readonly walSha256: string;
}

const pageSize = 512;

export const goldenCases: readonly GoldenCase[] = [
  {
    name: "ok",
    stop: "end",
    build: (database, snapshot) => {
      fill(database, "a", 8);
      fill(database, "b", 3);
      return snapshot();
    },
  },
  {
    // The WAL was restarted, and the new generation is shorter than the one before.
    name: "salt-mismatch",
    stop: "salt-changed",
    build: (database, snapshot) => {
      fill(database, "a", 20);
      database.pragma("wal_checkpoint(RESTART)");
      fill(database, "b", 2);
      return snapshot();
    },
  },
  {
    // A flipped bit in the first frame of the last transaction.
    name: "frame-checksum-mismatch",
    stop: "checksum-mismatch",
    build: (database, snapshot) => {
      fill(database, "a", 3);
      const before = snapshot();
      fill(database, "b", 3);
      const files = snapshot();
      const at = before.wal.length + frameHeaderBytes + 100;
      files.wal[at] = (files.wal[at] as number) ^ 0x10;
      return files;
    },
  },
  {
    name: "partial-frame",
    stop: "partial-frame",
    build: (database, snapshot) => {
      fill(database, "a", 3);
      fill(database, "b", 3);
      const { database: file, wal } = snapshot();
      return { database: file, wal: wal.slice(0, -100) };
    },
  },
  {
    // A transaction larger than the page cache spills valid frames that are not committed.
    name: "open-transaction",
    stop: "end",
    build: (database, snapshot) => {
      fill(database, "a", 3);
      database.pragma("cache_size = 2");
      database.exec("BEGIN");
      for (let row = 0; row < 25; row++) insert(database, "b", 400);
      const files = snapshot();
      database.exec("ROLLBACK");
      return files;
    },
  },
  {
    name: "commit-shrinks",
    stop: "end",
    build: (database, snapshot) => {
      fill(database, "a", 25);
      database.exec("DELETE FROM t WHERE rowid > 2; VACUUM");
      return snapshot();
    },
  },
  {
    // Free pages count for the size and need not be in the WAL. SQLite 3.54 wrote them in every workload that was tried, but
    // reads a WAL without them, so their frames are left out and the rest is summed anew.
    name: "growth-outside-wal",
    stop: "end",
    build: (database, snapshot) => {
      fill(database, "a", 2);
      database.exec("BEGIN; CREATE TABLE gone(x)");
      database.prepare("INSERT INTO gone VALUES (?)").run(new Uint8Array(8_000).fill(7));
      database.exec("CREATE TABLE kept(x); DROP TABLE gone; INSERT INTO kept VALUES (1); COMMIT");
      const { database: file, wal } = snapshot();
      return { database: file, wal: buildWal(headerOf(wal), withoutFreePages(framesOf(wal))) };
    },
  },
  {
    // What SQLite on a big-endian machine writes, made by summing the frames of "ok" anew.
    name: "big-endian-sums",
    stop: "end",
    build: (database, snapshot) => {
      fill(database, "a", 8);
      fill(database, "b", 3);
      const { database: file, wal } = snapshot();
      const header = headerOf(wal);
      return { database: file, wal: buildWal({ ...header, order: "big-endian" }, framesOf(wal)) };
    },
  },
];

/** Builds a case with the SQLite at hand. */
export function makeGolden(golden: GoldenCase): { files: WalFiles; expected: ExpectedScan } {
  return inTemporaryDirectory((directory) => {
    const path = join(directory, "database");
    const database = new BetterSqlite3(path);
    try {
      database.pragma(`page_size = ${pageSize}`);
      database.pragma("journal_mode = WAL");
      database.pragma("wal_autocheckpoint = 0");
      database.exec("CREATE TABLE t(x)");
      database.pragma("wal_checkpoint(TRUNCATE)");
      const files = golden.build(database, () => ({
        database: new Uint8Array(readFileSync(path)),
        wal: new Uint8Array(readFileSync(`${path}-wal`)),
      }));
      return { files, expected: askSqlite(files, golden.stop) };
    } finally {
      database.close();
    }
  });
}

/** Reads a case from `fixtures/`. */
export function readGolden(name: string): { files: WalFiles; expected: ExpectedScan } {
  const read = (file: string): Uint8Array =>
    new Uint8Array(readFileSync(join(fixtures, name, file)));
  return {
    files: { database: read("database"), wal: read("wal") },
    expected: JSON.parse(new TextDecoder().decode(read("expected.json"))) as ExpectedScan,
  };
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

const fixtures = join(import.meta.dirname, "fixtures");

function fill(database: BetterSqlite3.Database, text: string, rows: number): void {
  database.transaction(() => {
    for (let row = 0; row < rows; row++) insert(database, text, 200 + row);
  })();
}

function insert(database: BetterSqlite3.Database, text: string, length: number): void {
  database.prepare("INSERT INTO t VALUES (?)").run(text.repeat(length));
}

/** What SQLite itself finds in the files. */
function askSqlite({ database, wal }: WalFiles, stop: WalStop): ExpectedScan {
  return inTemporaryDirectory((directory) => {
    const path = join(directory, "database");
    writeFileSync(path, database);
    writeFileSync(`${path}-wal`, wal);
    const connection = new BetterSqlite3(path);
    try {
      const commit = connection.pragma("page_count", { simple: true }) as number;
      const [log] = connection.pragma("wal_checkpoint(NOOP)") as [{ log: number }];
      const view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
      const newest = new Map<number, number>();
      for (let frameIndex = 0; frameIndex < log.log; frameIndex++) {
        newest.set(view.getUint32(frameOffset(frameIndex, pageSize)), frameIndex);
      }
      const growthOutsideWal: number[] = [];
      for (let pgno = database.length / pageSize + 1; pgno <= commit; pgno++) {
        if (!newest.has(pgno)) growthOutsideWal.push(pgno);
      }
      const last = decodeFrameHeader(view, frameOffset(log.log - 1, pageSize));
      return {
        stop,
        end:
          formatSalt(last.salt) +
          [log.log, last.sums.s0, last.sums.s1]
            .map((n) => n.toString(16).padStart(8, "0"))
            .join(""),
        commit,
        latest: [...newest].filter(([pgno]) => pgno <= commit).sort(([a], [b]) => a - b),
        growthOutsideWal,
        contentSha256: sha256(new Uint8Array(connection.serialize())),
        databaseSha256: sha256(database),
        walSha256: sha256(wal),
      };
    } finally {
      connection.close();
    }
  });
}

function framesOf(wal: Uint8Array): BuiltFrame[] {
  const view = new DataView(wal.buffer, wal.byteOffset, wal.byteLength);
  const frames: BuiltFrame[] = [];
  for (
    let offset = frameOffset(0, pageSize);
    offset < wal.length;
    offset += walFrameBytes(pageSize)
  ) {
    const { pgno, commit } = decodeFrameHeader(view, offset);
    const page = wal.slice(offset + frameHeaderBytes, offset + walFrameBytes(pageSize));
    frames.push({ pgno, commit, page });
  }
  return frames;
}

/** Leaves out the frames of the pages that the first trunk of the free list names as free. */
function withoutFreePages(frames: readonly BuiltFrame[]): BuiltFrame[] {
  const newest = new Map(frames.map(({ pgno, page }) => [pgno, new DataView(page.buffer)]));
  const trunk = newest.get(newest.get(1)?.getUint32(32) ?? 0);
  if (trunk === undefined) throw new Error("the free list is empty");
  const free = new Set<number>();
  for (let leaf = 0; leaf < trunk.getUint32(4); leaf++) free.add(trunk.getUint32(8 + leaf * 4));
  return frames.filter(({ pgno }) => !free.has(pgno));
}

function inTemporaryDirectory<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "golden-wal-"));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

if (import.meta.main) {
  for (const golden of goldenCases) {
    const { files, expected } = makeGolden(golden);
    const directory = join(fixtures, golden.name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "database"), files.database);
    writeFileSync(join(directory, "wal"), files.wal);
    writeFileSync(join(directory, "expected.json"), `${JSON.stringify(expected)}\n`);
  }
}
