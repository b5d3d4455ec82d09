import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError } from "../errors.ts";
import { decodeLtx } from "./decode-ltx.ts";
import { mergeLtx } from "./merge.ts";
import { concat, decodeFile, encodeFile, header } from "./testing.ts";

const pageSizes = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

/** A page that repeats a few random bytes, or is all random: both ends of what a compressor meets. */
function arbitraryPage(pageSize: number): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer(), fc.boolean())
    .map(([pattern, seed, isNoise]) => {
      let state = seed;
      return Uint8Array.from({ length: pageSize }, (_, index) => {
        state = (Math.imul(state, 1103515245) + 12345) | 0;
        return isNoise ? state >>> 16 : (pattern[index % pattern.length] as number);
      });
    });
}

test("decode(encode(x)) = x, for every page size and split", () => {
  const cases = fc.constantFrom(...pageSizes).chain((pageSize) =>
    fc.record({
      pageSize: fc.constant(pageSize),
      commit: fc.integer({ min: 1, max: 40 }),
      isSnapshot: fc.boolean(),
      picks: fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
      contents: fc.array(arbitraryPage(pageSize), { minLength: 3, maxLength: 3 }),
      pieces: fc.array(fc.integer({ min: 1, max: 3 * pageSize }), { minLength: 1, maxLength: 5 }),
      timestampMs: fc.maxSafeInteger(),
    }),
  );
  fc.assert(
    fc.property(cases, ({ pageSize, commit, isSnapshot, picks, contents, pieces, timestampMs }) => {
      const pages = new Map<number, Uint8Array>();
      for (let pgno = 1; pgno <= commit; pgno++) {
        if (isSnapshot || picks[pgno - 1]) pages.set(pgno, contents[pgno % 3] as Uint8Array);
      }
      const fields = header({ pageSize, commit, timestampMs, min: isSnapshot ? 1 : 5, max: 9 });
      const bytes = encodeFile(fields, pages);
      const decoded = decodeFile(bytes, pieces, { size: bytes.length });
      expect(decoded.verdict.header).toMatchObject(fields);
      expect([...decoded.pages.keys()]).toEqual([...pages.keys()]);
      for (const [pgno, page] of pages) {
        expect(Buffer.compare(decoded.pages.get(pgno) as Uint8Array, page)).toBe(0);
      }
    }),
    { numRuns: 60 },
  );
});

test("random bytes behind a valid beginning: FormatError and nothing else", () => {
  const start = encodeFile(header({ commit: 3, min: 2 }), [[2, new Uint8Array(512).fill(7)]]);
  fc.assert(
    fc.property(fc.nat(start.length), fc.uint8Array({ maxLength: 300 }), (keep, noise) => {
      const bytes = concat([start.subarray(0, keep), noise]);
      fc.pre(Buffer.compare(bytes, start) !== 0);
      expect(() => decodeFile(bytes, [64])).toThrow(FormatError);
    }),
    { numRuns: 1000 },
  );
});

/** A database as the first byte of each page; one step is one file. */
type Database = readonly number[];
interface Step {
  readonly size: number;
  readonly writes: readonly number[];
}

const steps = fc.array(
  fc.record({
    size: fc.integer({ min: 1, max: 12 }),
    writes: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 6 }),
  }),
  { minLength: 1, maxLength: 7 },
);

/** The database after each step, and the step's file: growth pages always, as the format demands. */
function play(script: readonly Step[]): { states: Database[]; files: Map<number, number>[] } {
  const states: Database[] = [];
  const files: Map<number, number>[] = [];
  let database: number[] = [];
  for (const [index, { size, writes }] of script.entries()) {
    const byte = index + 1;
    const pages = new Map<number, number>();
    for (let pgno = 1; pgno <= size; pgno++) {
      if (pgno > database.length || writes.includes(pgno)) pages.set(pgno, byte);
    }
    database = Array.from(
      { length: size },
      (_, at) => pages.get(at + 1) ?? (database[at] as number),
    );
    states.push(database);
    files.push(pages);
  }
  return { states, files };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 333) yield bytes.subarray(at, at + 333);
}

async function merge(files: readonly Uint8Array[]): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of mergeLtx(
    files.map((bytes) => ({ source: once(bytes), size: bytes.length })),
  )) {
    pieces.push(piece);
  }
  return concat(pieces);
}

test("merging in any grouping, with any overlap, has the effect of applying one after the other", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.infiniteStream(fc.nat(2)), async (script, choices) => {
      const { states, files } = play(script);
      let level = files.map((pages, index) => ({
        min: index + 1,
        max: index + 1,
        bytes: encodeFile(
          header({ commit: states[index]?.length ?? 0, min: index + 1, timestampMs: index }),
          [...pages].map(([pgno, byte]) => [pgno, new Uint8Array(512).fill(byte)] as const),
        ),
      }));
      const choose = (): number => choices.next().value as number;
      while (level.length > 1) {
        const next: typeof level = [];
        for (let at = 0; at < level.length; ) {
          // A group may begin with a file that the group before has already: then both hold its TXIDs.
          const from = at > 0 && choose() === 0 ? at - 1 : at;
          const to = Math.min(at + 1 + choose() + (at === 0 ? 1 : 0), level.length);
          const group = level.slice(from, to);
          next.push({
            min: group[0]?.min ?? 0,
            max: group.at(-1)?.max ?? 0,
            bytes: await merge(group.map(({ bytes }) => bytes)),
          });
          at = to;
        }
        level = next;
      }
      const { verdict, pages } = decodeFile(level[0]?.bytes as Uint8Array);
      expect(verdict.header).toMatchObject({
        minTxid: 1n,
        maxTxid: BigInt(script.length),
        commit: states.at(-1)?.length,
        timestampMs: script.length - 1,
      });
      expect([...pages.values()].map((page) => page[0])).toEqual(states.at(-1));
    }),
    { numRuns: 150 },
  );
});

test("decodeLtx gives the pages in batches, and the verdict at the end", async () => {
  const commit = 700;
  const bytes = encodeFile(
    header({ commit, pageSize: 4096 }),
    Array.from(
      { length: commit },
      (_, index) => [index + 1, new Uint8Array(4096).fill(index)] as const,
    ),
  );
  let seen = 0;
  let biggest = 0;
  const reading = decodeLtx(once(bytes), {
    onHeader: (found) => expect(found.commit).toBe(commit),
  });
  for (;;) {
    const next = await reading.next();
    if (next.done === true) {
      expect(next.value).toMatchObject({ pageCount: commit, size: bytes.length });
      break;
    }
    biggest = Math.max(biggest, next.value.length);
    for (const { pgno, data } of next.value) {
      seen += 1;
      expect([pgno, data[0], data[4095]]).toEqual([seen, (seen - 1) & 255, (seen - 1) & 255]);
    }
  }
  expect(seen).toBe(commit);
  expect(biggest).toBeLessThanOrEqual(256);
  await expect(reading.next()).resolves.toMatchObject({ done: true });
});
