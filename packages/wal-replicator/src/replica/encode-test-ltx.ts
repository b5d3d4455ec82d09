import { LtxEncoder } from "../ltx/encoder.ts";
import { toTxid } from "../ltx/txid.ts";

/** An LTX file for tests. */
export interface TestLtx {
  readonly pageSize: number;
  readonly min: number;
  /** Default: `min`. */
  readonly max?: number;
  readonly commit: number;
  readonly timestampMs?: number;
  /** By pgno, in any order. */
  readonly pages: ReadonlyMap<number, Uint8Array>;
}

/** Encodes a whole file in memory. */
export function encodeTestLtx(file: TestLtx): Uint8Array {
  const encoder = new LtxEncoder({
    pageSize: file.pageSize,
    commit: file.commit,
    minTxid: toTxid(file.min),
    maxTxid: toTxid(file.max ?? file.min),
    timestampMs: file.timestampMs ?? file.min * 1_000,
  });
  for (const pgno of [...file.pages.keys()].sort((a, b) => a - b)) {
    encoder.writePage(pgno, file.pages.get(pgno) as Uint8Array);
  }
  encoder.finish();
  const chunks: Uint8Array[] = [];
  for (let chunk = encoder.takeOutput(); chunk !== undefined; chunk = encoder.takeOutput()) {
    chunks.push(chunk.slice());
  }
  return Buffer.concat(chunks);
}

/** A page that does not compress, the same for the same seed. */
export function noisePage(pageSize: number, seed: number): Uint8Array {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  return Uint8Array.from({ length: pageSize }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  });
}
