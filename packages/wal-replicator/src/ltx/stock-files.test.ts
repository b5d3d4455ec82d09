import { createHash } from "node:crypto";
// biome-ignore lint/style/noRestrictedImports: the codecs touch no file; this test reads those of stock Litestream.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseFileName } from "./file-name.ts";
import { lockPgno } from "./lock-page.ts";
import { mergeLtx } from "./merge.ts";
import { concat, decodeFile } from "./testing.ts";

/** Replicas by stock Litestream v0.5.12 (LZ4 frames) and v0.5.18 (blocks), with the digests of what it restores from them. */
const root = fileURLToPath(new URL("../../../../test/fixtures/litestream/", import.meta.url));
const cases = ["file-4096-lz4frame", "file-4096", "s3-512", "s3-4096", "s3-65536"];

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

describe.each(cases)("%s", (name) => {
  const objects = join(root, name, "objects");
  const files = readdirSync(objects, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ltx"))
    .map((path) => ({ path, bytes: new Uint8Array(readFileSync(join(objects, path))) }));

  test("every file is read and verified", () => {
    expect(files.length).toBeGreaterThan(20);
    for (const { path, bytes } of files) {
      const range = parseFileName(basename(path));
      expect(range, path).toBeDefined();
      const options = range === undefined ? {} : { range, size: bytes.length };
      expect(decodeFile(bytes, [65536], options).verdict.size, path).toBe(bytes.length);
    }
  });

  test("its level 0, merged by us, is the database that stock restores", async () => {
    const expected = JSON.parse(readFileSync(join(root, name, "expected.json"), "utf8"));
    const chain = files
      .filter(({ path }) => /(^|\/)(0|0000)\/[^/]+$/.test(path))
      .sort((left, right) => (basename(left.path) < basename(right.path) ? -1 : 1));
    const pieces: Uint8Array[] = [];
    for await (const piece of mergeLtx(chain.map(({ bytes }) => ({ source: once(bytes) })))) {
      pieces.push(piece);
    }
    const { verdict, pages } = decodeFile(concat(pieces));
    const { pageSize, commit } = verdict.header;
    expect(commit).toBeLessThan(lockPgno(pageSize));
    const database = concat(pages.values());
    expect(database.length).toBe(commit * pageSize);
    expect(createHash("sha256").update(database).digest("hex")).toBe(expected.latest);
  });
});
