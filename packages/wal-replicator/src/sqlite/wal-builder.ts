import type { ByteSource } from "./byte-source.ts";
import type { WalSums } from "./wal-checksum.ts";
import { addFrameToSums, frameHeaderBytes, frameOffset } from "./wal-frame.ts";
import { decodeWalHeader, encodeWalHeader, type WalHeader } from "./wal-header.ts";

/** Builds WALs for tests, fixtures and benchmarks. Replication itself never writes one. */
export interface BuiltFrame {
  readonly pgno: number;
  /** Size in pages for a commit frame, else 0. */
  readonly commit: number;
  /** One page. */
  readonly page: Uint8Array;
}

/** The bytes of a WAL with these frames, all sums computed. */
export function buildWal(
  fields: Omit<WalHeader, "sums">,
  frames: readonly BuiltFrame[],
): Uint8Array<ArrayBuffer> {
  const { pageSize, order, salt } = fields;
  const bytes = new Uint8Array(frameOffset(frames.length, pageSize));
  bytes.set(encodeWalHeader(fields));
  const view = new DataView(bytes.buffer);
  const sums: WalSums = { s0: view.getUint32(24), s1: view.getUint32(28) };
  for (const [frameIndex, frame] of frames.entries()) {
    const offset = frameOffset(frameIndex, pageSize);
    view.setUint32(offset, frame.pgno);
    view.setUint32(offset + 4, frame.commit);
    view.setUint32(offset + 8, salt.salt1);
    view.setUint32(offset + 12, salt.salt2);
    bytes.set(frame.page, offset + frameHeaderBytes);
    addFrameToSums(sums, view, offset, pageSize, order);
    view.setUint32(offset + 16, sums.s0);
    view.setUint32(offset + 20, sums.s1);
  }
  return bytes;
}

/** The bytes as a source. @param readMax - most bytes that one read gives: forces split reads. */
export function sourceOf(
  bytes: Uint8Array,
  readMax: (wanted: number) => number = (wanted) => wanted,
): ByteSource {
  return {
    read(target, position) {
      const available = Math.max(0, Math.min(target.length, bytes.length - position));
      const count = available === 0 ? 0 : Math.max(1, Math.min(available, readMax(available)));
      target.set(bytes.subarray(position, position + count));
      return count;
    },
  };
}

/** The header of a built WAL. */
export function headerOf(bytes: Uint8Array): WalHeader {
  const header = decodeWalHeader(bytes.subarray(0, 32));
  if (header === "torn") throw new Error("the header of a built WAL is torn");
  return header;
}
