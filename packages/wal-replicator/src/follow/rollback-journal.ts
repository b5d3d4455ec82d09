import type { FileHandle } from "node:fs/promises";
import { invariant } from "../errors.ts";

/**
 * A rollback journal as SQLite writes it (sqlite.org/fileformat2.html, 3; pager.c), with which any SQLite undoes what was written over a
 * database: it cuts or extends the file to `pageCount`, and puts the pages back. Big-endian.
 *
 * | Offset | Size | |
 * |---|---|---|
 * | 0 | 8 | magic |
 * | 8 | 4 | number of pages in the journal |
 * | 12 | 4 | nonce of the checksums |
 * | 16 | 4 | size of the database before, in pages |
 * | 20 | 4 | sector size: the header takes one |
 * | 24 | 4 | page size |
 * | 512 | | for each page: its number (4), its old image, its checksum (4) |
 *
 * A page's checksum is the nonce plus every 200th byte from the end, byte 0 left out.
 */
export interface JournalledPages {
  /** The database before the transaction. */
  readonly handle: FileHandle;
  readonly pageSize: number;
  /** Size of the database before, in pages. */
  readonly pageCount: number;
  /** Ascending: each page that the transaction changes or cuts off; none is beyond `pageCount`. */
  readonly pgnos: Uint32Array;
  /** Random. */
  readonly nonce: number;
}

const magic = Uint8Array.of(0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7);
const sectorBytes = 512;
const bufferBytes = 1 << 20;

/** Writes a whole journal to an empty file. It is not synced. Memory: 2 MiB. */
export async function writeRollbackJournal(
  target: FileHandle,
  { handle, pageSize, pageCount, pgnos, nonce }: JournalledPages,
): Promise<void> {
  const header = Buffer.alloc(sectorBytes);
  header.set(magic);
  header.writeUInt32BE(pgnos.length, 8);
  header.writeUInt32BE(nonce, 12);
  header.writeUInt32BE(pageCount, 16);
  header.writeUInt32BE(sectorBytes, 20);
  header.writeUInt32BE(pageSize, 24);
  await target.writeFile(header);
  const batchPages = Math.max(1, Math.floor(bufferBytes / pageSize));
  const images = Buffer.alloc(batchPages * pageSize);
  const records = Buffer.alloc(batchPages * (pageSize + 8));
  for (let index = 0; index < pgnos.length; ) {
    const first = pgnos[index] as number;
    let count = 1;
    while (count < batchPages && pgnos[index + count] === first + count) count += 1;
    await readWhole(handle, images.subarray(0, count * pageSize), (first - 1) * pageSize);
    for (let run = 0; run < count; run += 1) {
      const image = images.subarray(run * pageSize, (run + 1) * pageSize);
      const at = run * (pageSize + 8);
      records.writeUInt32BE(first + run, at);
      records.set(image, at + 4);
      records.writeUInt32BE(checksum(nonce, image), at + 4 + pageSize);
    }
    await target.writeFile(records.subarray(0, count * (pageSize + 8)));
    index += count;
  }
}

function checksum(nonce: number, image: Uint8Array): number {
  let sum = nonce;
  for (let at = image.length - 200; at > 0; at -= 200) sum += image[at] as number;
  return sum >>> 0;
}

/** Fills the target from a position of the file, which must have so many bytes. */
export async function readWhole(
  handle: FileHandle,
  target: Uint8Array,
  position: number,
): Promise<void> {
  for (let filled = 0; filled < target.length; ) {
    const { bytesRead } = await handle.read(
      target,
      filled,
      target.length - filled,
      position + filled,
    );
    invariant(bytesRead > 0, `the copy ends before byte ${position + target.length}`);
    filled += bytesRead;
  }
}
