import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { syncDirectory } from "../durable-file.ts";
import { lockPgno } from "../ltx/lock-page.ts";
import { PageWriter } from "../restore/page-writer.ts";
import { inheritAccess } from "../restore/restore-file.ts";
import type { CopyPlace } from "./copy-place.ts";
import type { FollowCrashPointListener } from "./follow-crash-point.ts";
import { writeRollbackJournal } from "./rollback-journal.ts";

/** A page of a database; the bytes are valid until the next ones are asked for. */
export interface CopyPage {
  readonly pgno: number;
  readonly data: Uint8Array;
}

/** What a transaction does to the file. */
export interface CopyChange {
  /** In bytes, before and after. If it changes, all pages are written. */
  readonly pageSizeBefore: number;
  readonly pageSize: number;
  /** Size in pages, before and after. */
  readonly pageCountBefore: number;
  readonly pageCount: number;
  /** Pages that are written, ascending; page 1 always is. */
  readonly pgnos: Uint32Array;
  /** Exactly those pages, in this order. An error on the way undoes the transaction. */
  readonly pages: AsyncIterable<CopyPage>;
}

/**
 * Writes the old images of all that a transaction will change to the journal, under a name that nobody rolls back: of what is there now only
 * we change anything, so that readers are kept out for the change alone. Durable when it resolves.
 */
export async function prepareJournal(
  place: CopyPlace,
  handle: FileHandle,
  change: CopyChange,
  nonce: number,
): Promise<void> {
  try {
    await using journal = await open(place.journal, "w", 0o600);
    await writeRollbackJournal(journal, {
      handle,
      pageSize: change.pageSizeBefore,
      pageCount: change.pageCountBefore,
      pgnos: pagesToJournal(change),
      nonce,
    });
    await journal.sync();
    // Whoever may read the copy has to be able to roll it back.
    await inheritAccess(place.path, place.journal);
  } catch (error) {
    // Perhaps the disk is full: it must not be this that fills it.
    await rm(place.journal, { force: true });
    throw error;
  }
}

/**
 * Changes the file, for a caller that holds SQLite's exclusive lock on it. From the rename of the journal to its removal, which is the
 * commit, a kill, a power cut or an error leaves a hot journal: the next reader's SQLite puts everything back before it reads a page.
 *
 * Durability point: when it resolves, the transaction survives a power cut.
 */
export async function commitChange(
  place: CopyPlace,
  handle: FileHandle,
  change: CopyChange,
  at: FollowCrashPointListener,
): Promise<void> {
  const directory = dirname(place.path);
  await rename(place.journal, place.hotJournal);
  await syncDirectory(directory);
  at("journal-hot");
  const writer = new PageWriter(handle, change.pageSize);
  const half = Math.ceil(change.pgnos.length / 2);
  let written = 0;
  for await (const { pgno, data } of change.pages) {
    writer.write(pgno, data);
    if (writer.isBusy) await writer.ready();
    written += 1;
    if (written !== half) continue;
    await writer.flush();
    at("half-written");
  }
  await writer.flush();
  await handle.truncate(change.pageCount * change.pageSize);
  await handle.sync();
  at("pages-written");
  await rm(place.hotJournal);
  await syncDirectory(directory);
  at("committed");
}

/** The lock page has no content: SQLite's locks lie there. */
function pagesToJournal(change: CopyChange): Uint32Array {
  const { pageSizeBefore, pageSize, pageCountBefore, pageCount, pgnos } = change;
  // All of it where pages lie elsewhere afterwards.
  const isWhole = pageSize !== pageSizeBefore;
  const lock = lockPgno(pageSizeBefore);
  const overwritten = isWhole ? [] : pgnos.filter((pgno) => pgno <= pageCountBefore);
  const cutFrom = isWhole ? 1 : pageCount + 1;
  const cut: number[] = [];
  for (let pgno = cutFrom; pgno <= pageCountBefore; pgno += 1) if (pgno !== lock) cut.push(pgno);
  const all = new Uint32Array(overwritten.length + cut.length);
  all.set(overwritten);
  all.set(cut, overwritten.length);
  return all;
}
