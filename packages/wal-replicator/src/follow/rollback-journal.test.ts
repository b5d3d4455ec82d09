import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { writeRollbackJournal } from "./rollback-journal.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "journal-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it.each([512, 1024, 4096, 32_768, 65_536])(
  "SQLite puts back what the journal holds: pages of %d bytes, in runs and alone, and the size",
  async (pageSize) => {
    const path = join(directory, "a.db");
    const writer = new BetterSqlite3(path);
    writer.pragma(`page_size = ${pageSize}`);
    writer.exec("CREATE TABLE t (x)");
    writer.prepare("INSERT INTO t VALUES (randomblob(?))").run(pageSize * 30);
    writer.close();
    const before = readFileSync(path);
    const pageCount = before.length / pageSize;
    const pgnos = Uint32Array.from([1, 2, 3, 7, 9, 10, 11, 12, pageCount - 1, pageCount]);
    await using handle = await open(path, "r+");
    {
      await using journal = await open(`${path}-journal`, "wx");
      await writeRollbackJournal(journal, {
        handle,
        pageSize,
        pageCount,
        pgnos,
        nonce: 0xfedc_ba98,
      });
    }
    for (const pgno of pgnos)
      await handle.write(Buffer.alloc(pageSize, pgno), 0, pageSize, (pgno - 1) * pageSize);
    await handle.truncate(pageSize * (pageCount - 2));
    copyFileSync(path, join(directory, "broken.db"));
    const reader = new BetterSqlite3(path);
    expect(reader.pragma("integrity_check", { simple: true })).toBe("ok");
    reader.close();
    expect(Buffer.compare(readFileSync(path), before)).toBe(0);
    // Without the journal it is no database any more.
    const broken = new BetterSqlite3(join(directory, "broken.db"));
    expect(() => broken.pragma("integrity_check")).toThrow(/not a database/);
    broken.close();
  },
);
