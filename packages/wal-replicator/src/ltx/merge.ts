import { FormatError, InvariantError } from "../errors.ts";
import { LtxInput } from "./decode-ltx.ts";
import type { LtxDecoderOptions, LtxPage } from "./decoder.ts";
import { LtxEncoder, type LtxFileSummary } from "./encoder.ts";
import { isSnapshot, type LtxHeader } from "./header.ts";
import { lockPgno } from "./lock-page.ts";
import type { Txid } from "./txid.ts";

export interface MergeInput extends LtxDecoderOptions {
  readonly source: AsyncIterable<Uint8Array>;
}

export interface MergeResult extends LtxFileSummary {
  /** Of the merged file. */
  readonly header: LtxHeader;
}

/**
 * Merges files that follow each other into one that has the same effect (ltx: compactor.go:78): the newest image of each page, without
 * those beyond the last commit. Header: minTXID of the first; commit, maxTXID and timestamp of the last; no WAL fields.
 *
 * All inputs are open at the same time, each with one piece of its source and one page in memory. Blocks are taken over as they are,
 * without compressing again. The last bytes of the output come only after every input was read to its end and verified: output that
 * is not complete is worth nothing.
 *
 * A page that the database needs and that no input holds, or holds only from before the database was smaller, is `LTX_CHAIN_BROKEN`:
 * stock merges the latter into a file with stale pages.
 *
 * @param inputs - at least one, the oldest first. TXIDs may overlap; then the later file wins.
 * @param asTxid - makes a level-0 file of this one TXID instead, as a capture of all of it would have.
 * @returns yields pieces of about 1 MiB that belong to the caller.
 * @throws {FormatError}, and whatever the sources throw.
 */
export async function* mergeLtx(
  inputs: readonly MergeInput[],
  asTxid?: Txid,
): AsyncGenerator<Uint8Array, MergeResult, undefined> {
  const files = inputs.map(({ source, ...options }) => new LtxInput(source, options));
  try {
    const headers = await Promise.all(files.map((file) => file.readHeader()));
    const merged = mergedHeader(headers);
    const header =
      asTxid === undefined
        ? merged
        : { ...merged, minTxid: asTxid, maxTxid: asTxid, walOffset: levelZeroWalOffset };
    const encoder = new LtxEncoder(header);
    const needs = new PageNeeds(headers);
    const heads: (LtxPage | undefined)[] = files.map(() => undefined);
    for (const [index, file] of files.entries())
      heads[index] = readAhead(file) ?? (await awaitPage(file));
    for (;;) {
      const newest = newestLowest(heads);
      if (newest === undefined) break;
      const page = heads[newest] as LtxPage;
      if (page.pgno <= header.commit) {
        needs.check(page.pgno, newest);
        encoder.writePage(page.pgno, page.data, page.block);
        const piece = encoder.takeOutput(pieceBytes);
        if (piece !== undefined) yield piece;
      }
      for (const [index, file] of files.entries()) {
        if (heads[index]?.pgno === page.pgno)
          heads[index] = readAhead(file) ?? (await awaitPage(file));
      }
    }
    for (const file of files) await file.finish();
    needs.checkEnd();
    const summary = encoder.finish();
    for (let piece = encoder.takeOutput(); piece !== undefined; piece = encoder.takeOutput())
      yield piece;
    return { ...summary, header };
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

const pieceBytes = 1 << 19;
/** As a capture writes it: what a stock `replicate` needs that takes over from a level-0 file (replica-layout.md 6). */
export const levelZeroWalOffset = 32;

/** @returns undefined if the next page of the file is not there yet, or there is none. */
function readAhead(file: LtxInput): LtxPage | undefined {
  return file.decoder.readPage();
}

async function awaitPage(file: LtxInput): Promise<LtxPage | undefined> {
  while (!file.decoder.pagesOver && (await file.pull())) {
    const page = file.decoder.readPage();
    if (page !== undefined) return page;
  }
  return undefined;
}

/** Which input holds the newest image of the lowest page. */
function newestLowest(heads: readonly (LtxPage | undefined)[]): number | undefined {
  let found: number | undefined;
  let lowest = Number.POSITIVE_INFINITY;
  for (let index = heads.length - 1; index >= 0; index--) {
    const pgno = heads[index]?.pgno;
    if (pgno !== undefined && pgno < lowest) {
      lowest = pgno;
      found = index;
    }
  }
  return found;
}

function mergedHeader(headers: readonly LtxHeader[]): LtxHeader {
  const first = headers[0];
  const last = headers.at(-1);
  if (first === undefined || last === undefined) throw new InvariantError("nothing to merge");
  for (const [index, next] of headers.entries()) {
    const before = headers[index - 1];
    if (before === undefined) continue;
    if (next.pageSize !== before.pageSize) {
      throw broken(`page size ${next.pageSize} follows ${before.pageSize}`);
    }
    if (next.minTxid > before.maxTxid + 1n || next.maxTxid <= before.maxTxid) {
      throw broken(
        `TXIDs ${next.minTxid} to ${next.maxTxid} follow ${before.minTxid} to ${before.maxTxid}`,
      );
    }
  }
  return {
    ...last,
    minTxid: first.minTxid,
    walOffset: 0,
    walSize: 0,
    walSalt1: 0,
    walSalt2: 0,
    hasChecksums: false,
    preApplyChecksum: 0n,
    nodeId: 0n,
  };
}

/**
 * Which pages the merged file must hold, and how new they must be: while the database had fewer pages, a page was gone, and it came
 * back with a file that grew the database again. A snapshot begins with no pages at all.
 */
class PageNeeds {
  readonly #lockPgno: number;
  readonly #commit: number;
  /** Per input, the smallest commit of those after it. */
  readonly #smallestAfter: number[];
  /** Pages beyond this are needed, all of them. */
  #neededBeyond: number;

  constructor(headers: readonly LtxHeader[]) {
    const first = headers[0] as LtxHeader;
    const last = headers.at(-1) as LtxHeader;
    this.#lockPgno = lockPgno(first.pageSize);
    this.#commit = last.commit;
    this.#smallestAfter = headers.map(() => last.commit);
    for (let index = headers.length - 2; index >= 0; index--) {
      const after = headers[index + 1] as LtxHeader;
      this.#smallestAfter[index] = Math.min(after.commit, this.#smallestAfter[index + 1] as number);
    }
    this.#neededBeyond = isSnapshot(first)
      ? 0
      : Math.min(first.commit, this.#smallestAfter[0] as number);
  }

  /** @param pgno - in ascending order, at most the final commit; `input` holds its newest image. */
  check(pgno: number, input: number): void {
    if (pgno > this.#neededBeyond) {
      if (pgno !== this.#next()) throw missing(this.#next());
      this.#neededBeyond = pgno;
    }
    if (pgno > (this.#smallestAfter[input] as number)) {
      throw broken(`page ${pgno} came back without content when the database grew again`);
    }
  }

  checkEnd(): void {
    if (this.#next() <= this.#commit) throw missing(this.#next());
  }

  #next(): number {
    const next = this.#neededBeyond + 1;
    return next === this.#lockPgno ? next + 1 : next;
  }
}

function missing(pgno: number): FormatError {
  return broken(`no file holds page ${pgno}`);
}

function broken(what: string): FormatError {
  return new FormatError("LTX_CHAIN_BROKEN", `the files form no chain: ${what}`);
}
