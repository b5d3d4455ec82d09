import { describe, expect, test } from "vitest";
import {
  type ExpectedScan,
  goldenCases,
  makeGolden,
  readGolden,
  sha256,
  type WalFiles,
} from "./golden-wals.ts";
import { headerOf, sourceOf } from "./wal-builder.ts";
import { frameHeaderBytes, frameOffset } from "./wal-frame.ts";
import { formatWalPosition, scanWal, startOfWal } from "./wal-reader.ts";

/** Reads the files as capture does and puts the pages together: the newest frame, else the database file, else zeros. */
function scanned({ database, wal }: WalFiles): ExpectedScan {
  const header = headerOf(wal);
  const { pageSize } = header;
  const scan = scanWal(sourceOf(wal), header, startOfWal(header), 0xffffffff).next();
  if (scan.done !== true) throw new Error("a small WAL takes one block");
  const { stop, end, commit, frames } = scan.value;
  const { count, pgnos, frameIndexes } = frames.latest(commit);
  const latest = Array.from(
    { length: count },
    (_, index) => [pgnos[index] as number, frameIndexes[index] as number] as const,
  );
  const content = new Uint8Array(commit * pageSize);
  content.set(database.subarray(0, content.length));
  for (const [pgno, frameIndex] of latest) {
    const page = frameOffset(frameIndex, pageSize) + frameHeaderBytes;
    content.set(wal.subarray(page, page + pageSize), (pgno - 1) * pageSize);
  }
  const inWal = new Set(latest.map(([pgno]) => pgno));
  const growthOutsideWal: number[] = [];
  for (let pgno = database.length / pageSize + 1; pgno <= commit; pgno++) {
    if (!inWal.has(pgno)) growthOutsideWal.push(pgno);
  }
  return {
    stop,
    end: formatWalPosition(end),
    commit,
    latest,
    growthOutsideWal,
    contentSha256: sha256(content),
    databaseSha256: sha256(database),
    walSha256: sha256(wal),
  };
}

describe.each(goldenCases)("$name", (golden) => {
  test("the fixture is read as SQLite read it", () => {
    const { files, expected } = readGolden(golden.name);
    expect(scanned(files)).toEqual(expected);
    expect(expected.stop).toBe(golden.stop);
  });

  test("a new one by the SQLite at hand is read as SQLite reads it", () => {
    const { files, expected } = makeGolden(golden);
    expect(scanned(files)).toEqual(expected);
  });
});

test("the cases show what they are named after", () => {
  const of = (name: string) => readGolden(name).expected;
  const framesIn = (name: string) => (readGolden(name).files.wal.length - 32) / 536;
  const endOf = (name: string) => Number.parseInt(of(name).end.slice(16, 24), 16);
  expect(framesIn("salt-mismatch")).toBeGreaterThan(endOf("salt-mismatch"));
  expect(framesIn("open-transaction")).toBeGreaterThan(endOf("open-transaction") + 5);
  expect(framesIn("partial-frame") % 1).not.toBe(0);
  expect(of("growth-outside-wal").growthOutsideWal.length).toBeGreaterThan(5);
  expect(endOf("commit-shrinks")).toBeGreaterThan(of("commit-shrinks").commit * 2);
  expect(headerOf(readGolden("big-endian-sums").files.wal).order).toBe("big-endian");
  expect(headerOf(readGolden("ok").files.wal).order).toBe("little-endian");
});
