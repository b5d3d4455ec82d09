/**
 * Child of `database-image.ts`: prints the image of the database in its first argument as JSON; a second argument names a file that
 * receives the pages.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { withDatabaseCopy } from "./database-copy.ts";
import type { DatabaseImage } from "./database-image.ts";

/** Offset of the byte that SQLite locks while it writes; the page that holds it has no content. */
const pendingByte = 0x4000_0000;

const [path, imagePath] = process.argv.slice(2);
if (path === undefined) throw new Error("which database?");

const image = withDatabaseCopy(path, (copyPath, database) => {
  // SQLite itself lays the WAL over the file: nothing of ours can agree with a mistake of ours.
  const [result] = database.pragma("wal_checkpoint(TRUNCATE)") as [{ busy: number }];
  if (result.busy !== 0) throw new Error("the copy is busy, which nobody but us can know of");
  const pageSize = database.pragma("page_size", { simple: true }) as number;
  const pageCount = database.pragma("page_count", { simple: true }) as number;
  return hashPages(copyPath, pageSize, pageCount);
});
process.stdout.write(`${JSON.stringify(image)}\n`);

/** Closing this descriptor drops SQLite's locks on the copy, which nobody else has open. */
function hashPages(copyPath: string, pageSize: number, pageCount: number): DatabaseImage {
  const descriptor = openSync(copyPath, "r");
  const target = imagePath === undefined ? undefined : openSync(imagePath, "w");
  const hash = createHash("sha256");
  const page = new Uint8Array(pageSize);
  try {
    for (let pageIndex = 0; pageIndex < pageCount; pageIndex += 1) {
      const offset = pageIndex * pageSize;
      if (offset === pendingByte) page.fill(0);
      else if (readSync(descriptor, page, 0, pageSize, offset) !== pageSize) {
        throw new Error(`${copyPath} ends within its page ${pageIndex + 1} of ${pageCount}`);
      }
      hash.update(page);
      if (target !== undefined) writeSync(target, page);
    }
  } finally {
    closeSync(descriptor);
    if (target !== undefined) closeSync(target);
  }
  return { pageSize, pageCount, sha256: hash.digest("hex") };
}
