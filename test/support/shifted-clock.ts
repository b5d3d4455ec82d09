/**
 * Preloaded into a process whose wall clock is to be wrong: moves what `Date` says by `CLOCK_OFFSET_MS`. The monotonic clock, timers and the
 * times of files stay, as on a machine whose clock was never set.
 */
const offsetMs = Number(process.env["CLOCK_OFFSET_MS"] ?? "0");
const RealDate = Date;

class ShiftedDate extends RealDate {
  constructor(...parts: [] | [number | string | Date]) {
    if (parts.length === 0) super(RealDate.now() + offsetMs);
    else super(...(parts as unknown as [number]));
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
}

globalThis.Date = ShiftedDate as DateConstructor;
