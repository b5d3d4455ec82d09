/** Milliseconds since 1970, with fractions; comparable with the times of other processes of this machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
