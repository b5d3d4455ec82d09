/** Whether the value is a page size of SQLite: a power of two from 512 to 65536. */
export function isPageSize(value: number): boolean {
  return Number.isInteger(value) && value >= 512 && value <= 65_536 && (value & (value - 1)) === 0;
}
