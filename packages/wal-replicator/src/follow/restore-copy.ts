import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory } from "../durable-file.ts";
import { lockPgno } from "../ltx/lock-page.ts";
import type { RestoreResult } from "../restore/restore.ts";
import { coded, inheritAccess } from "../restore/restore-file.ts";
import type { PageChecksums } from "../ship/page-checksums.ts";
import { databaseHeaderBytes } from "../sqlite/database-header.ts";
import { firstChangeCounter, toFollowedHeader } from "./copy-header.ts";
import type { CopyPlace } from "./copy-place.ts";
import { type CopyPosition, writeCopyState } from "./copy-state.ts";
import type { CopyPage } from "./copy-transaction.ts";
import type { FollowCrashPointListener } from "./follow-crash-point.ts";
import type { CopyUpdate } from "./followed-copy.ts";
import { readWhole } from "./rollback-journal.ts";

/**
 * Publishes a database that was restored beside as the copy, where there is none. A kill before the rename leaves no copy, and after it one
 * whose state is known. What lies at the path is replaced: the caller has asked. Durable when it resolves.
 */
export async function publishRestored(
  place: CopyPlace,
  result: RestoreResult,
  at: FollowCrashPointListener,
): Promise<void> {
  await coded(place.path, async () => {
    {
      await using handle = await open(place.incoming, "r+");
      const header = new Uint8Array(databaseHeaderBytes);
      await readWhole(handle, header, 0);
      const changeCounter = firstChangeCounter(header);
      const followed = toFollowedHeader(header, result.pageCount, changeCounter);
      await handle.write(followed, 0, followed.length, 0);
      await handle.sync();
      const from: CopyPosition = { ...positionOf(result), header, changeCounter };
      await writeCopyState(place.state, { from, to: undefined });
    }
    at("publishing");
    await inheritAccess(place.path, place.incoming);
    // They would be replayed into the new file.
    for (const suffix of ["-wal", "-shm", "-journal"]) {
      await rm(`${place.path}${suffix}`, { force: true });
    }
    await rename(place.incoming, place.path);
    await syncDirectory(dirname(place.path));
  });
}

/**
 * What makes a copy that readers have open the same as a database that was restored beside: the pages that differ, in one transaction. It is
 * not swapped in by a rename: a reader that had the old file open would take the journal of the new one for its own, roll it back into the old
 * file and delete it.
 */
export async function updateToRestored(
  place: CopyPlace,
  result: RestoreResult,
  copy: PageChecksums,
): Promise<CopyUpdate> {
  const { pageChecksums, pageSize } = result;
  const pgnos = differingPages(copy, pageChecksums);
  const page1 = new Uint8Array(pageSize);
  await coded(place.path, async () => {
    await using handle = await open(place.incoming, "r");
    await readWhole(handle, page1, 0);
  });
  return {
    ...positionOf(result),
    checksums: () => pageChecksums,
    pgnos,
    page1,
    pages: () => readPages(place, pageSize, pgnos),
  };
}

function positionOf(result: RestoreResult): Omit<CopyPosition, "header" | "changeCounter"> {
  const { timeline, txid, timestamp, pageSize, pageCount, rollingChecksum } = result;
  return { timeline, txid, timestampMs: timestamp.getTime(), pageSize, pageCount, rollingChecksum };
}

/** Numbers of the pages that are in `to` and not the same in `from`. */
function differingPages(from: PageChecksums, to: PageChecksums): Uint32Array {
  const { halves, pageCount, pageSize } = to;
  const pgnos = new Uint32Array(pageCount);
  const lock = lockPgno(pageSize);
  let count = 0;
  for (let pgno = 1; pgno <= pageCount; pgno += 1) {
    const low = halves[pgno * 2 - 2] as number;
    const high = halves[pgno * 2 - 1] as number;
    const isSame = from.pageSize === pageSize && from.equals(pgno, low, high);
    if (isSame || pgno === lock) continue;
    pgnos[count] = pgno;
    count += 1;
  }
  return pgnos.slice(0, count);
}

async function* readPages(
  place: CopyPlace,
  pageSize: number,
  pgnos: Uint32Array,
): AsyncGenerator<CopyPage, void, undefined> {
  await using handle = await open(place.incoming, "r");
  const runPages = Math.max(1, Math.floor(runBytes / pageSize));
  const run = new Uint8Array(runPages * pageSize);
  for (let index = 0; index < pgnos.length; ) {
    const first = pgnos[index] as number;
    let count = 1;
    while (count < runPages && pgnos[index + count] === first + count) count += 1;
    await readWhole(handle, run.subarray(0, count * pageSize), (first - 1) * pageSize);
    for (let page = 0; page < count; page += 1) {
      yield { pgno: first + page, data: run.subarray(page * pageSize, (page + 1) * pageSize) };
    }
    index += count;
  }
}

const runBytes = 1 << 20;
