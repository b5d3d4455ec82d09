import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noisePage } from "../replica/encode-test-ltx.ts";
import { PageWriter } from "./page-writer.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "page-writer-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe("PageWriter", () => {
  it("puts every page where it belongs, in runs long and short, of any page size", async () => {
    const runs = fc.array(
      fc.record({ gap: fc.integer({ min: 0, max: 3 }), length: fc.integer({ min: 1, max: 400 }) }),
      { minLength: 1, maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(512, 4096, 65_536), runs, async (pageSize, lengths) => {
        const path = join(directory, "database");
        const page = noisePage(pageSize, 1);
        const stamp = (pgno: number): Uint8Array => {
          new DataView(page.buffer).setUint32(0, pgno);
          return page;
        };
        const written = new Set<number>();
        {
          await using handle = await open(path, "w+");
          const writer = new PageWriter(handle, pageSize);
          let pgno = 1;
          for (const { gap, length } of lengths) {
            pgno += gap;
            for (let count = 0; count < Math.min(length, (8 << 20) / pageSize); count += 1) {
              writer.write(pgno, stamp(pgno));
              if (writer.isBusy) await writer.ready();
              written.add(pgno);
              pgno += 1;
            }
          }
          await writer.flush();
        }
        const bytes = await readFile(path);
        for (let pgno = 1; pgno <= bytes.length / pageSize; pgno += 1) {
          const there = bytes.subarray((pgno - 1) * pageSize, pgno * pageSize);
          const expected = written.has(pgno) ? stamp(pgno) : new Uint8Array(pageSize);
          expect(Buffer.compare(there, expected)).toBe(0);
        }
        expect(bytes.length).toBe(Math.max(...written) * pageSize);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    ["one page", 1],
    ["a long run", 1_000],
  ])("says that a write of %s failed", async (_, pageCount) => {
    const path = join(directory, "readonly");
    await (await open(path, "w")).close();
    await using handle = await open(path, "r");
    const writer = new PageWriter(handle, 4096);
    for (let pgno = 1; pgno <= pageCount; pgno += 1) writer.write(pgno, noisePage(4096, 1));
    await expect(writer.flush()).rejects.toMatchObject({ code: "EBADF" });
  });

  it("keeps the disk busy meanwhile, and says that it failed", async () => {
    await using handle = await open(join(directory, "failing-disk"), "w+");
    let syncs = 0;
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    handle.datasync = async () => {
      syncs += 1;
      throw full;
    };
    const writer = new PageWriter(handle, 65_536);
    const page = noisePage(65_536, 1);
    const write = async (): Promise<void> => {
      for (let pgno = 1; pgno <= (80 << 20) / page.length; pgno += 1) {
        writer.write(pgno, page);
        if (writer.isBusy) await writer.ready();
      }
      await writer.flush();
    };
    await expect(write()).rejects.toBe(full);
    expect(syncs).toBe(1);
  });
});
