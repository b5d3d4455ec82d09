import { LtxDecoder, type LtxDecoderOptions, type LtxFileVerdict } from "./decoder.ts";
import { LtxEncoder } from "./encoder.ts";
import type { LtxHeaderFields } from "./header.ts";
import { toTxid } from "./txid.ts";

/** Files in memory, for the tests of this folder. */

export interface DecodedFile {
  readonly verdict: LtxFileVerdict;
  readonly pages: Map<number, Uint8Array>;
}

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

export function concat(parts: Iterable<Uint8Array>): Uint8Array {
  return new Uint8Array(Buffer.concat([...parts]));
}

export function drain(encoder: LtxEncoder): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let piece = encoder.takeOutput(); piece !== undefined; piece = encoder.takeOutput()) {
    pieces.push(piece);
  }
  return pieces;
}

export function encodeFile(
  header: LtxHeaderFields,
  pages: Iterable<readonly [pgno: number, page: Uint8Array, block?: Uint8Array]>,
): Uint8Array {
  const encoder = new LtxEncoder(header);
  for (const [pgno, page, block] of pages) encoder.writePage(pgno, page, block);
  encoder.finish();
  return concat(drain(encoder));
}

/** Decodes with pieces of these lengths, in turn. */
export function decodeFile(
  bytes: Uint8Array,
  pieceLengths: readonly number[] = [bytes.length],
  options?: LtxDecoderOptions,
): DecodedFile {
  const decoder = new LtxDecoder(options);
  const pages = new Map<number, Uint8Array>();
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = pieceLengths[turn % pieceLengths.length] as number;
    decoder.push(bytes.subarray(at, at + length));
    at += length;
    for (let page = decoder.readPage(); page !== undefined; page = decoder.readPage()) {
      pages.set(page.pgno, page.data.slice());
    }
  }
  return { verdict: decoder.finish(), pages };
}

export function header(
  fields: Partial<Omit<LtxHeaderFields, "minTxid" | "maxTxid">> & {
    min?: number;
    max?: number;
  } = {},
): LtxHeaderFields {
  const { min = 1, max = min, ...rest } = fields;
  return {
    pageSize: 512,
    commit: 1,
    timestampMs: 1000,
    ...rest,
    minTxid: toTxid(min),
    maxTxid: toTxid(max),
  };
}

/** A block of nothing but literals, as the simplest possible compressor writes it. */
export function literalBlock(page: Uint8Array): Uint8Array {
  const lengths: number[] = [0xf0];
  let rest = page.length - 15;
  for (; rest >= 255; rest -= 255) lengths.push(255);
  return concat([Uint8Array.from([...lengths, rest]), page]);
}

export function filled(pageSize: number, byte: number): Uint8Array {
  return new Uint8Array(pageSize).fill(byte);
}

const golden = (commit: string): string =>
  `4c545831 00000002 00000200 ${commit} 0000000000000001 0000000000000001 00000000000003e8 ${"00".repeat(60)}`;

/** `ltx-format.md` 10, made by the Go library: what stock writes for a 512-byte page of one byte value. */
export const stockBlock = (byte: string): string =>
  `1f${byte}0100ffda000200000200b0${byte.repeat(11)}`;

/** G2: one page of `31` as block, as stock writes it since v0.5.16. */
export const g2: Uint8Array = hex(
  `${golden("00000001")} 00000001 0001 00000018 ${stockBlock("31")} 000000000000 01642200 0000000000000004 0000000000000000 f12f449656ee6137`,
);

/** G3: pages of `31` and `32` as frames, as stock wrote them up to v0.5.15. */
export const g3: Uint8Array = hex(
  `${golden("00000002")} 00000001 0000 04224d186440a7 18000000 ${stockBlock("31")} 00000000 5e2d2198` +
    `00000002 0000 04224d186440a7 18000000 ${stockBlock("32")} 00000000 bc9547e7` +
    "000000000000 016431 02950131 00 0000000000000008 0000000000000000 e17aca286c800f9c",
);
