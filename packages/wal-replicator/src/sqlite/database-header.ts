import { FormatError } from "../errors.ts";
import { isPageSize } from "./page.ts";

/**
 * The first 100 bytes of a database file, as far as replication reads them (sqlite.org/fileformat2.html, 1.3). Big-endian.
 *
 * | Byte | Length | Field |
 * |---|---|---|
 * | 0 | 16 | "SQLite format 3" and a zero byte |
 * | 16 | 2 | page size; 1 means 65536 |
 * | 18, 19 | 1 each | write and read version: 1 rollback journal, 2 WAL |
 * | 21 | 3 | payload fractions, always 64, 32, 32 |
 * | 24 | 4 | change counter |
 * | 28 | 4 | size in pages |
 * | 92 | 4 | change counter that the size in pages is valid for |
 *
 * In WAL mode the newest header may be a frame of the WAL, and the file's own is then of an earlier moment.
 */
export interface DatabaseHeader {
  /** In bytes. */
  readonly pageSize: number;
  readonly journalMode: "wal" | "rollback";
  /** Size in pages. Undefined if the field is out of date, as versions before 3.7.0 left it: then the file's size counts. */
  readonly dbPageCount: number | undefined;
  readonly changeCounter: number;
}

export const databaseHeaderBytes = 100;

const magic = new TextEncoder().encode("SQLite format 3\0");
const payloadFractions = [64, 32, 32];

/**
 * Decodes the beginning of a database file by the rules by which SQLite opens one (`btree.c`, `lockBtree`).
 *
 * @param bytes - at least the first 100 bytes of the file, if it has so many.
 * @throws {FormatError} `DATABASE_BAD_HEADER`
 */
export function decodeDatabaseHeader(bytes: Uint8Array): DatabaseHeader {
  if (bytes.length < databaseHeaderBytes) {
    throw badHeader(`only ${bytes.length} bytes: a database begins with 100`, bytes.length);
  }
  if (magic.some((byte, index) => bytes[index] !== byte)) {
    throw badHeader(
      'it does not begin with "SQLite format 3": no database, or an encrypted one',
      0,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, databaseHeaderBytes);
  const storedPageSize = view.getUint16(16);
  const pageSize = storedPageSize === 1 ? 65_536 : storedPageSize;
  if (!isPageSize(pageSize)) throw badHeader(`page size ${storedPageSize}`, 16);
  const readVersion = view.getUint8(19);
  if (readVersion > 2) throw badHeader(`file format version ${readVersion} is newer than WAL`, 19);
  if (payloadFractions.some((fraction, index) => view.getUint8(21 + index) !== fraction)) {
    throw badHeader("payload fractions other than 64, 32, 32", 21);
  }
  const changeCounter = view.getUint32(24);
  const storedPageCount = view.getUint32(28);
  const isPageCountValid = storedPageCount > 0 && view.getUint32(92) === changeCounter;
  return {
    pageSize,
    // SQLite looks at the read version alone.
    journalMode: readVersion === 2 ? "wal" : "rollback",
    dbPageCount: isPageCountValid ? storedPageCount : undefined,
    changeCounter,
  };
}

function badHeader(reason: string, offset: number): FormatError {
  return new FormatError("DATABASE_BAD_HEADER", `not a SQLite database: ${reason}`, { offset });
}
