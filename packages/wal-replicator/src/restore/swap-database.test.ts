import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { spoolDirectory } from "../ship/spool.ts";
import {
  asidePath,
  discardIncoming,
  finishSwap,
  incomingPath,
  listAside,
  swapDatabase,
} from "./swap-database.ts";

let directory: string;
let database: string;
const now = new Date("2026-11-24T21:54:21.123Z");

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "swap-"));
  database = join(directory, "db.sqlite3");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(path: string, content: string, parts: readonly ("wal" | "spool")[]): void {
  writeFileSync(path, content);
  if (parts.includes("wal")) writeFileSync(`${path}-wal`, content);
  if (!parts.includes("spool")) return;
  mkdirSync(spoolDirectory(path));
  writeFileSync(join(spoolDirectory(path), "state.json"), content);
}

/** What lies at a path: the content of its three parts. */
function read(path: string): readonly (string | undefined)[] {
  return [path, `${path}-wal`, join(spoolDirectory(path), "state.json")].map((part) =>
    existsSync(part) ? readFileSync(part, "utf8") : undefined,
  );
}

describe("swapDatabase", () => {
  it("puts the new one in place and keeps all of the old one", async () => {
    write(database, "old", ["wal", "spool"]);
    writeFileSync(`${database}-shm`, "index of the old WAL");
    write(incomingPath(database), "new", ["spool"]);
    const aside = asidePath(database, now);
    await swapDatabase(database, { incoming: incomingPath(database), aside });
    expect(read(database)).toEqual(["new", undefined, "new"]);
    expect(read(aside)).toEqual(["old", "old", "old"]);
    expect(existsSync(`${database}-shm`)).toBe(false);
    expect(await finishSwap(database)).toBeUndefined();
    expect(listAside(database)).toEqual([aside]);
    expect(aside).toBe(`${database}.aside-20261124T215421123Z`);
  });

  it("is undone by swapping back", async () => {
    write(database, "old", ["wal"]);
    write(incomingPath(database), "new", []);
    const first = asidePath(database, now);
    await swapDatabase(database, { incoming: incomingPath(database), aside: first });
    const second = asidePath(database, new Date(now.getTime() + 1));
    await swapDatabase(database, { incoming: first, aside: second });
    expect(read(database)).toEqual(["old", "old", undefined]);
    expect(read(second)).toEqual(["new", undefined, undefined]);
    expect(listAside(database)).toEqual([second]);
  });

  /** Every state that a kill can leave: so many of the renames done, in their order, under the marker of their phase. */
  it.each([0, 1, 2, 3])(
    "is finished after a kill behind %i renames of the old one",
    async (done) => {
      const aside = asidePath(database, now);
      write(database, "old", ["wal", "spool"]);
      write(incomingPath(database), "new", ["spool"]);
      renameParts(database, aside, done);
      leaveMarker("out", aside);
      expect(await finishSwap(database)).toBe(aside);
      expect(read(database)).toEqual(["new", undefined, "new"]);
      expect(read(aside)).toEqual(["old", "old", "old"]);
    },
  );

  it.each([0, 1, 2, 3])(
    "is finished after a kill behind %i renames of the new one",
    async (done) => {
      const aside = asidePath(database, now);
      write(aside, "old", ["wal", "spool"]);
      write(incomingPath(database), "new", ["wal", "spool"]);
      renameParts(incomingPath(database), database, done);
      leaveMarker("in", aside);
      expect(await finishSwap(database)).toBe(aside);
      expect(read(database)).toEqual(["new", "new", "new"]);
      expect(read(aside)).toEqual(["old", "old", "old"]);
      expect(await finishSwap(database)).toBeUndefined();
    },
  );

  it.each([
    ["another phase", JSON.stringify({ version: 1, phase: "x", incoming: "i", aside: "a" })],
    ["another version", JSON.stringify({ version: 2, phase: "in", incoming: "i", aside: "a" })],
    ["no names", JSON.stringify({ version: 1, phase: "in" })],
    ["no JSON", "torn {"],
    ["nothing", "null"],
  ])("refuses a marker that it does not understand instead of guessing: %s", async (_, text) => {
    write(database, "old", ["wal", "spool"]);
    writeFileSync(markerPath(), text);
    await expect(finishSwap(database)).rejects.toMatchObject({
      code: "START_REFUSED",
      message: expect.stringContaining(markerPath()),
      hint: expect.any(String),
    });
    expect(read(database)).toEqual(["old", "old", "old"]);
    expect(readFileSync(markerPath(), "utf8")).toBe(text);
  });

  it("there is nothing to finish in a directory that is not there", async () => {
    expect(await finishSwap(join(directory, "missing", "db.sqlite3"))).toBeUndefined();
    expect(listAside(join(directory, "missing", "db.sqlite3"))).toEqual([]);
  });
});

it("discards what an interrupted restore left, and nothing else", () => {
  write(database, "old", ["wal", "spool"]);
  write(incomingPath(database), "half", ["wal", "spool"]);
  writeFileSync(`${incomingPath(database)}.restore-0123456789abcdef.tmp`, "half");
  write(asidePath(database, now), "kept", ["wal", "spool"]);
  discardIncoming(database);
  expect(read(incomingPath(database))).toEqual([undefined, undefined, undefined]);
  expect(existsSync(`${incomingPath(database)}.restore-0123456789abcdef.tmp`)).toBe(false);
  expect(read(database)).toEqual(["old", "old", "old"]);
  expect(read(asidePath(database, now))).toEqual(["kept", "kept", "kept"]);
});

function renameParts(from: string, to: string, count: number): void {
  const parts = [
    [spoolDirectory(from), spoolDirectory(to)],
    [`${from}-wal`, `${to}-wal`],
    [from, to],
  ] as const;
  for (const [a, b] of parts.slice(0, count)) {
    renameSync(a, b);
  }
}

function markerPath(): string {
  return join(directory, ".db.sqlite3-swap.json");
}

function leaveMarker(phase: string, aside: string): void {
  const incoming = incomingPath(database);
  writeFileSync(markerPath(), JSON.stringify({ version: 1, phase, incoming, aside }));
}
