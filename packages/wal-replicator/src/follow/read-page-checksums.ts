import type { FileHandle } from "node:fs/promises";
import { lockPgno } from "../ltx/lock-page.ts";
import { checksumPage } from "../ltx/page-checksum.ts";
import { PageChecksums } from "../ship/page-checksums.ts";
import { withHeader } from "./copy-header.ts";
import type { CopyPosition } from "./copy-state.ts";
import { readWhole } from "./rollback-journal.ts";

export interface CopyContent {
  readonly checksums: PageChecksums;
  /** With the replica's own header. */
  readonly page1: Uint8Array;
}

const batchBytes = 1 << 20;

/**
 * Reads a whole database file: the checksum of every page as it is, page 1 with the replica's own header. About a second a gigabyte.
 *
 * @throws the abort reason.
 */
export async function readPageChecksums(
  handle: FileHandle,
  { pageSize, header }: CopyPosition,
  signal: AbortSignal,
): Promise<CopyContent> {
  const { size } = await handle.stat();
  const pageCount = Math.floor(size / pageSize);
  const checksums = new PageChecksums(pageSize, pageCount);
  checksums.resize(pageCount);
  const lock = lockPgno(pageSize);
  const batch = Buffer.alloc(Math.max(batchBytes, pageSize));
  let page1: Uint8Array = new Uint8Array(pageSize);
  for (let pgno = 1; pgno <= pageCount; ) {
    signal.throwIfAborted();
    const count = Math.min(batch.length / pageSize, pageCount + 1 - pgno);
    await readWhole(handle, batch.subarray(0, count * pageSize), (pgno - 1) * pageSize);
    for (let index = 0; index < count; index += 1, pgno += 1) {
      if (pgno === lock) continue;
      const page = batch.subarray(index * pageSize, (index + 1) * pageSize);
      if (pgno === 1) page1 = withHeader(page, header);
      const { low, high } = checksumPage(pgno, pgno === 1 ? page1 : page);
      checksums.set(pgno, low, high);
    }
  }
  return { checksums, page1 };
}
