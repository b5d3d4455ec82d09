import { FormatError } from "../errors.ts";

/**
 * Trailer, big-endian, the last 16 bytes of a file (ltx: ltx.go `Trailer`):
 *
 * | Offset | Size | Field |
 * |---|---|---|
 * | 0 | 8 | postApplyChecksum: rolling checksum of the database; 0 with NoChecksum |
 * | 8 | 8 | fileChecksum: CRC-64 of everything before it, with pages decompressed; bit 63 set |
 */
export const trailerBytes = 16;

export interface LtxTrailer {
  readonly postApplyChecksum: bigint;
  readonly fileChecksum: bigint;
}

const topBit = 1n << 63n;

/** @returns the trailer of a file that carries no checksum of the database. */
export function encodeTrailer(fileChecksum: bigint): Uint8Array {
  const bytes = new Uint8Array(trailerBytes);
  new DataView(bytes.buffer).setBigUint64(8, fileChecksum);
  return bytes;
}

/**
 * @param bytes - exactly the 16 bytes; `offset` is where they lie in the file.
 * @param hasChecksums - what the header's flags say.
 * @throws {FormatError} `LTX_BAD_TRAILER`
 */
export function decodeTrailer(
  bytes: Uint8Array,
  hasChecksums: boolean,
  offset: number,
): LtxTrailer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, trailerBytes);
  const postApplyChecksum = view.getBigUint64(0);
  const fileChecksum = view.getBigUint64(8);
  if (hasChecksums ? postApplyChecksum < topBit : postApplyChecksum !== 0n) {
    throw new FormatError("LTX_BAD_TRAILER", "the post-apply checksum does not fit the flags", {
      offset,
    });
  }
  if (fileChecksum < topBit) {
    throw new FormatError("LTX_BAD_TRAILER", "the file checksum lacks bit 63", {
      offset: offset + 8,
    });
  }
  return { postApplyChecksum, fileChecksum };
}
