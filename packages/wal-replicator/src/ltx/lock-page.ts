/**
 * SQLite's locks lie on the byte at 1 GiB, and the page that holds it never has content: it is in no LTX file, in no checksum,
 * and all zero in a restored database (sqlite `os.h`, PENDING_BYTE).
 */
const pendingByte = 0x40000000;

/** @returns the number of the lock page, whether or not the database reaches it: 2097153 for 512-byte pages … 16385 for 65536. */
export function lockPgno(pageSize: number): number {
  return pendingByte / pageSize + 1;
}
