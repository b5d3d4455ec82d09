import { describe, expect, test } from "vitest";
import { FormatError } from "../errors.ts";
import type { LtxHeaderFields } from "./header.ts";
import { type MergeInput, type MergeResult, mergeLtx } from "./merge.ts";
import { concat, decodeFile, encodeFile, filled, header } from "./testing.ts";

/** Pages given as `pgno: byte`. */
function file(
  fields: Parameters<typeof header>[0],
  pages: Readonly<Record<number, number>>,
): Uint8Array {
  const { pageSize = 512 } = fields ?? {};
  return encodeFile(
    header(fields),
    Object.entries(pages).map(([pgno, byte]) => [Number(pgno), filled(pageSize, byte)] as const),
  );
}

async function* inPieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function merge(
  inputs: readonly MergeInput[],
): Promise<{ bytes: Uint8Array; result: MergeResult }> {
  const pieces: Uint8Array[] = [];
  const merging = mergeLtx(inputs);
  for (;;) {
    const next = await merging.next();
    if (next.done === true) return { bytes: concat(pieces), result: next.value };
    pieces.push(next.value);
  }
}

/** The merged file's pages by their first byte. */
async function merged(
  ...files: readonly Uint8Array[]
): Promise<{ header: LtxHeaderFields; pages: Record<number, number> }> {
  const { bytes, result } = await merge(files.map((bytes) => ({ source: inPieces(bytes, 100) })));
  const { verdict, pages } = decodeFile(bytes);
  expect(verdict).toEqual({ ...result, postApplyChecksum: 0n });
  return {
    header: verdict.header,
    pages: Object.fromEntries([...pages].map(([pgno, page]) => [pgno, page[0] as number])),
  };
}

const base = file({ commit: 3, min: 1 }, { 1: 1, 2: 1, 3: 1 });

describe("mergeLtx", () => {
  test("the newest image of each page wins", async () => {
    const { pages } = await merged(
      base,
      file({ commit: 3, min: 2 }, { 2: 2, 3: 2 }),
      file({ commit: 3, min: 3 }, { 3: 3 }),
    );
    expect(pages).toEqual({ 1: 1, 2: 2, 3: 3 });
  });

  test("commit, maxTXID and timestamp come from the last, minTXID from the first, WAL fields from none", async () => {
    const result = await merged(
      file({ commit: 5, min: 2, timestampMs: 5000, walOffset: 32 }, { 1: 1 }),
      file(
        {
          commit: 4,
          min: 3,
          max: 7,
          timestampMs: 4000,
          walOffset: 32,
          walSize: 9,
          walSalt1: 1,
          walSalt2: 2,
        },
        { 2: 2 },
      ),
    );
    expect(result.header).toEqual({
      ...header({ commit: 4, min: 2, max: 7, timestampMs: 4000 }),
      walOffset: 0,
      walSize: 0,
      walSalt1: 0,
      walSalt2: 0,
      hasChecksums: false,
      preApplyChecksum: 0n,
      nodeId: 0n,
    });
    expect(result.pages).toEqual({ 1: 1, 2: 2 });
  });

  test("pages beyond the last commit are dropped", async () => {
    const { pages } = await merged(base, file({ commit: 2, min: 2 }, { 1: 2 }));
    expect(pages).toEqual({ 1: 2, 2: 1 });
  });

  test("the later of two overlapping files wins", async () => {
    const { header, pages } = await merged(
      file({ commit: 3, min: 1, max: 5 }, { 1: 5, 2: 5, 3: 5 }),
      file({ commit: 3, min: 3, max: 6 }, { 2: 6 }),
    );
    expect(header).toMatchObject({ minTxid: 1n, maxTxid: 6n });
    expect(pages).toEqual({ 1: 5, 2: 6, 3: 5 });
  });

  test("growth, shrinking and growth again", async () => {
    const { pages } = await merged(
      base,
      file({ commit: 5, min: 2 }, { 4: 2, 5: 2 }),
      file({ commit: 2, min: 3 }, { 1: 3 }),
      file({ commit: 4, min: 4 }, { 3: 4, 4: 4 }),
    );
    expect(pages).toEqual({ 1: 3, 2: 1, 3: 4, 4: 4 });
  });

  test("one file, and files without pages", async () => {
    expect((await merged(base)).pages).toEqual({ 1: 1, 2: 1, 3: 1 });
    expect(
      (await merged(file({ commit: 3, min: 2 }, {}), file({ commit: 3, min: 3 }, {}))).pages,
    ).toEqual({});
  });

  test("the lock page is nobody's need", async () => {
    const lock = 16385;
    const { pages } = await merged(
      file({ commit: lock - 1, min: 2, pageSize: 65536 }, { 7: 2 }),
      file({ commit: lock + 1, min: 3, pageSize: 65536 }, { [lock + 1]: 3 }),
      file({ commit: lock, min: 4, pageSize: 65536 }, { 7: 4 }),
    );
    expect(pages).toEqual({ 7: 4 });
  });

  test.each<[string, Uint8Array[], string]>([
    ["a gap", [base, file({ commit: 3, min: 3 }, {})], "TXIDs 3 to 3 follow 1 to 1"],
    [
      "an end that does not grow",
      [file({ commit: 3, min: 2, max: 4 }, {}), file({ commit: 3, min: 3, max: 4 }, {})],
      "TXIDs 3 to 4 follow 2 to 4",
    ],
    [
      "another page size",
      [base, file({ commit: 3, min: 2, pageSize: 1024 }, {})],
      "page size 1024 follows 512",
    ],
    [
      "growth without its pages, over a snapshot",
      [base, file({ commit: 5, min: 2 }, { 5: 2 })],
      "no file holds page 4",
    ],
    [
      "growth without its last page",
      [base, file({ commit: 5, min: 2 }, { 4: 2 })],
      "no file holds page 5",
    ],
    [
      "growth without its pages, between increments",
      [file({ commit: 3, min: 2 }, { 1: 2 }), file({ commit: 4, min: 3 }, { 1: 3 })],
      "no file holds page 4",
    ],
    [
      "shrinking and growth again without the pages",
      [base, file({ commit: 2, min: 2 }, { 1: 2 }), file({ commit: 3, min: 3 }, { 1: 3 })],
      "page 3 came back",
    ],
  ])("refuses %s", async (_, files, message) => {
    await expect(merged(...files)).rejects.toThrow(
      expect.objectContaining({
        code: "LTX_CHAIN_BROKEN",
        message: expect.stringContaining(message),
      }),
    );
  });

  test("refuses a damaged input even if none of its pages is needed", async () => {
    const damaged = file({ commit: 3, min: 2 }, { 3: 9 });
    damaged[damaged.length - 1] = (damaged[damaged.length - 1] as number) ^ 1;
    const last = file({ commit: 2, min: 3 }, { 1: 3 });
    await expect(merged(base, damaged, last)).rejects.toThrow(FormatError);
    await expect(merged(base, damaged.subarray(0, -1), last)).rejects.toThrow(
      expect.objectContaining({ code: "LTX_TRUNCATED" }),
    );
  });

  test("lets go of all sources when one fails, or nobody wants more", async () => {
    const closed: number[] = [];
    const source = (id: number, bytes: Uint8Array): MergeInput => ({
      source: (async function* () {
        try {
          yield* inPieces(bytes, 150);
          yield new Uint8Array(1);
        } finally {
          closed.push(id);
        }
      })(),
    });
    await expect(
      merge([source(0, base), source(1, file({ commit: 3, min: 3 }, {}))]),
    ).rejects.toThrow(FormatError);
    expect(closed.sort()).toEqual([0, 1]);
  });
});
