import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { identityOf, isRaceFree, isSameIdentity, tickMs } from "./change-test.ts";
import { temporaryDirectory } from "./push-testing.ts";

/** After restic's `TestFileChanged`: what was done to a file, and whether it may be read as unchanged. */
const mutations: [string, boolean, (path: string) => void][] = [
  ["nothing", true, () => undefined],
  ["it is read", true, (path) => readFileSync(path)],
  ["the same content again", false, (path) => writeFileSync(path, "content")],
  ["other content of the same size", false, (path) => writeFileSync(path, "CONTENT")],
  ["more content", false, (path) => appendFileSync(path, "more")],
  ["less content", false, (path) => writeFileSync(path, "c")],
  ["a new time", false, (path) => utimesSync(path, 1, 1)],
  [
    "other content of the same size, the old mtime put back",
    false,
    (path) => {
      const { atime, mtime } = statSync(path);
      writeFileSync(path, "CONTENT");
      utimesSync(path, atime, mtime);
    },
  ],
  [
    "another file of the same size and mtime renamed to it",
    false,
    (path) => {
      const { atime, mtime } = statSync(path);
      writeFileSync(`${path}.new`, "CONTENT");
      utimesSync(`${path}.new`, atime, mtime);
      renameSync(`${path}.new`, path);
    },
  ],
  [
    "removed and written again",
    false,
    (path) => {
      rmSync(path);
      writeFileSync(path, "content");
    },
  ],
  // The change time tells of these too. To read such a file once more costs little.
  ["a new mode", false, (path) => chmodSync(path, 0o600)],
  ["a second name", false, (path) => linkSync(path, `${path}.second`)],
];

describe("a file that was looked at is the same after", () => {
  test.each(mutations)("%s: %s", async (_, expected, mutate) => {
    const path = join(temporaryDirectory(), "file");
    writeFileSync(path, "content", { mode: 0o644 });
    utimesSync(path, 1_000_000_000, 1_000_000_000.25);
    const look = () => identityOf(lstatSync(path, { bigint: true }));
    const before = look();
    // Past the tick of the file system's clock, which this test is not about.
    await expect.poll(() => clockMoved(path, before.ctimeNs), { timeout: 20_000 }).toBe(true);
    mutate(path);
    expect(isSameIdentity(before, look())).toBe(expected);
  });
});

/** Whether a file that is written now gets another time. */
function clockMoved(path: string, ctimeNs: bigint): boolean {
  writeFileSync(`${path}.clock`, "");
  return lstatSync(`${path}.clock`, { bigint: true }).ctimeNs > ctimeNs + 20_000_000n;
}

test("files differ if anything that is known of them does", () => {
  const identity = { size: 1, mtimeNs: 2n, ctimeNs: 3n, inode: 4n };
  expect(isSameIdentity(identity, { ...identity })).toBe(true);
  for (const other of [{ size: 2 }, { mtimeNs: 3n }, { ctimeNs: 4n }, { inode: 5n }]) {
    expect(isSameIdentity(identity, { ...identity, ...other })).toBe(false);
  }
});

describe("a digest is certain", () => {
  const ctimeMs = 1_700_000_000_000;
  const identity = { size: 1, mtimeNs: 0n, ctimeNs: BigInt(ctimeMs) * 1_000_000n, inode: 1n };
  test.each<[string, boolean, number, number]>([
    ["not if it was read in the tick of its change", false, 0, 0],
    ["not if it was read a moment later", false, tickMs - 1, tickMs - 1],
    ["if the wall clock says that the tick has passed", true, tickMs, 0],
    ["if the clock is behind, but it has looked the same for so long", true, -3_600_000, tickMs],
    ["not if the clock is behind and it was just seen", false, -3_600_000, 10],
  ])("%s", (_, expected, wallMs, sinceSeenMs) => {
    const readAt = new Date(ctimeMs + wallMs);
    expect(isRaceFree(identity, { readAt, readMs: 5_000 + sinceSeenMs, seenMs: 5_000 })).toBe(
      expected,
    );
  });
});
