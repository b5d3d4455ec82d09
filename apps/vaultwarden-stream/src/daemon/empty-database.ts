import { writeDurably } from "../durable-file.ts";

const pageSize = 4096;

/**
 * Creates the database of a new vault: one empty page, in WAL mode from its first byte. The server would create it too, but its
 * switch to WAL mode would then collide with our anchor.
 *
 * Durability point: when it resolves, the file survives a power cut. A crash before leaves no database.
 */
export async function createEmptyDatabase(path: string): Promise<void> {
  await writeDurably(path, emptyDatabasePage(), 0o644);
}

/** The first page of an empty SQLite database (fileformat2.html, 1.3 and 1.6): header, and the empty leaf of `sqlite_schema`. The schema format stays 0: the first table sets it. */
function emptyDatabasePage(): Uint8Array {
  const page = new Uint8Array(pageSize);
  const view = new DataView(page.buffer);
  page.set(new TextEncoder().encode("SQLite format 3\0"));
  view.setUint16(16, pageSize);
  page[18] = 2; // written by WAL
  page[19] = 2; // read by WAL
  page[21] = 64; // largest embedded payload fraction, fixed by the format
  page[22] = 32; // smallest, fixed
  page[23] = 32; // of leaves, fixed
  view.setUint32(24, 1); // file change counter
  view.setUint32(28, 1); // size in pages, valid since it equals:
  view.setUint32(92, 1); // the change counter that the size is of
  view.setUint32(56, 1); // UTF-8
  view.setUint32(96, 3_051_003); // SQLite version that wrote it
  page[100] = 13; // a leaf of a table, with no cells
  view.setUint16(105, pageSize); // where its cell content would begin
  return page;
}
