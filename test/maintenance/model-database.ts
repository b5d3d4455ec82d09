import type { Prng } from "@vaultwarden-stream/testkit";
import type { Txid } from "wal-replicator";
import {
  checksumPage,
  formatChecksum,
  LtxEncoder,
  type PageChecksum,
  toggleRolling,
} from "wal-replicator/internals";

/** The smallest that SQLite has: a simulation needs many pages, not large ones. */
export const pageSize = 512;
const noise = new Uint8Array(48);

/**
 * The content of a page is told by a number, and no number is used twice: so a state of the database is a list of numbers, and a
 * page that is damaged, stale or at the wrong place shows.
 */
export function fillPage(page: Uint8Array, id: number): void {
  page.fill(0);
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  view.setFloat64(0, id);
  let state = (Math.imul(id, 0x9e37_79b1) ^ 0x85eb_ca6b) >>> 0;
  for (let index = 0; index < noise.length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    page[8 + index] = state >>> 24;
  }
}

const expected = new Uint8Array(pageSize);

/** @returns which number the page has. @throws {Error} if it is not just such a page. */
export function readPageId(page: Uint8Array): number {
  const id = new DataView(page.buffer, page.byteOffset, page.byteLength).getFloat64(0);
  fillPage(expected, id);
  if (Buffer.compare(expected, page) !== 0)
    throw new Error(`a page is not what was written (${id})`);
  return id;
}

/** Pages that one LTX file holds, ascending, and how large the database is after it. */
export interface PageChange {
  readonly pgnos: Uint32Array;
  /** Of the pages, in the same order. */
  readonly ids: Float64Array;
  /** In pages. */
  readonly commit: number;
}

/** The pages of a database by their numbers; the index is pgno − 1. */
export type PageIds = readonly number[];

/** Two 32-bit numbers that tell states apart: an exclusive or over all pages, so that a change costs what it changes. */
export interface StateHash {
  readonly pageCount: number;
  readonly low: number;
  readonly high: number;
}

export function hashPages(ids: PageIds): StateHash {
  let low = 0;
  let high = 0;
  for (const [index, id] of ids.entries()) {
    low ^= mix(index + 1, id, 0x2545_f491);
    high ^= mix(index + 1, id, 0x6c07_8965);
  }
  return { pageCount: ids.length, low: low >>> 0, high: high >>> 0 };
}

export function sameHash(a: StateHash, b: StateHash): boolean {
  return a.pageCount === b.pageCount && a.low === b.low && a.high === b.high;
}

function mix(pgno: number, id: number, salt: number): number {
  let value = Math.imul(pgno ^ salt, 0x9e37_79b1) ^ Math.imul(id >>> 0, 0x85eb_ca77);
  value = Math.imul(value ^ (value >>> 15), 0xc2b2_ae3d);
  value = Math.imul(value ^ (value >>> 13), 0x27d4_eb2f);
  return value ^ (value >>> 16);
}

/** What a commit does: mostly writes a few pages; sometimes the database grows, shrinks, or is copied whole. */
export type CommitKind = "write" | "grow" | "shrink" | "full-copy";

const pagesMin = 20;
const pagesMax = 120;

/** The database of one machine, in memory. */
export class ModelDatabase {
  readonly #prng: Prng;
  readonly #nextPageId: () => number;
  readonly #ids: number[];
  readonly #checksums: PageChecksum[];
  readonly #page = new Uint8Array(pageSize);
  #rolling: PageChecksum = { low: 0, high: 0 };
  #low: number;
  #high: number;

  /** @param nextPageId - numbers that nobody else has. @param ids - the pages that it begins with; none: a new database. */
  constructor(prng: Prng, nextPageId: () => number, ids: PageIds = []) {
    this.#prng = prng;
    this.#nextPageId = nextPageId;
    this.#ids = [...ids];
    this.#checksums = [];
    for (const [index, id] of ids.entries()) {
      fillPage(this.#page, id);
      const checksum = copyOf(checksumPage(index + 1, this.#page));
      this.#checksums.push(checksum);
      this.#rolling = toggleRolling(this.#rolling, checksum);
    }
    ({ low: this.#low, high: this.#high } = hashPages(ids));
  }

  get ids(): PageIds {
    return this.#ids;
  }

  get hash(): StateHash {
    return { pageCount: this.#ids.length, low: this.#low >>> 0, high: this.#high >>> 0 };
  }

  /** Of the whole database, 16 hex digits. */
  get rollingChecksum(): string {
    return formatChecksum(this.#rolling);
  }

  /** One commit. @returns the pages that its LTX file has to hold. */
  commit(kind: CommitKind): PageChange {
    const before = this.#ids.length;
    let after = before;
    if (before === 0) after = pagesMin;
    else if (kind === "grow") after = Math.min(pagesMax, before + this.#prng.integer(1, 6));
    else if (kind === "shrink") after = Math.max(pagesMin, before - this.#prng.integer(1, 20));
    const written = new Set<number>();
    // Page 1 has the counters that each commit changes.
    written.add(1);
    for (let count = this.#prng.integer(1, 3); count > 0; count -= 1) {
      written.add(this.#prng.integer(1, Math.min(before, after) || 1));
    }
    for (let pgno = before + 1; pgno <= after; pgno += 1) written.add(pgno);
    for (let pgno = before; pgno > after; pgno -= 1) this.#remove(pgno);
    for (const pgno of written) this.#set(pgno, this.#nextPageId());
    if (kind === "full-copy") return this.fullCopy();
    const pgnos = Uint32Array.from(written).sort();
    const ids = Float64Array.from(pgnos, (pgno) => this.#ids[pgno - 1] as number);
    return { pgnos, ids, commit: after };
  }

  /** All pages as they are. */
  fullCopy(): PageChange {
    return {
      pgnos: Uint32Array.from(this.#ids, (_, index) => index + 1),
      ids: Float64Array.from(this.#ids),
      commit: this.#ids.length,
    };
  }

  #remove(pgno: number): void {
    this.#toggle(pgno, this.#ids.pop() as number, this.#checksums.pop() as PageChecksum);
  }

  #set(pgno: number, id: number): void {
    const before = this.#ids[pgno - 1];
    if (before !== undefined) this.#toggle(pgno, before, this.#checksums[pgno - 1] as PageChecksum);
    fillPage(this.#page, id);
    const checksum = copyOf(checksumPage(pgno, this.#page));
    this.#ids[pgno - 1] = id;
    this.#checksums[pgno - 1] = checksum;
    this.#toggle(pgno, id, checksum);
  }

  #toggle(pgno: number, id: number, checksum: PageChecksum): void {
    this.#rolling = toggleRolling(this.#rolling, checksum);
    this.#low ^= mix(pgno, id, 0x2545_f491);
    this.#high ^= mix(pgno, id, 0x6c07_8965);
  }
}

function copyOf({ low, high }: PageChecksum): PageChecksum {
  return { low, high };
}

/** The LTX file of a change, by the engine's own encoder. */
export function encodeChange(
  change: PageChange,
  header: { readonly minTxid: Txid; readonly maxTxid: Txid; readonly timestampMs: number },
): Uint8Array {
  const { pgnos, ids, commit } = change;
  const encoder = new LtxEncoder({ pageSize, commit, ...header });
  const page = new Uint8Array(pageSize);
  for (const [index, pgno] of pgnos.entries()) {
    fillPage(page, ids[index] as number);
    encoder.writePage(pgno, page);
  }
  encoder.finish();
  const pieces: Uint8Array[] = [];
  for (let piece = encoder.takeOutput(); piece !== undefined; piece = encoder.takeOutput()) {
    pieces.push(piece.slice());
  }
  return Buffer.concat(pieces);
}
