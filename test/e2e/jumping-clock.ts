/**
 * Preloaded into a daemon whose machine is to have been suspended: at each SIGUSR2 what `Date` says jumps ahead by ten minutes. The monotonic
 * clock stays, as it does on a machine that slept.
 */
const jumpMs = 600_000;
const RealDate = Date;
let offsetMs = 0;

class JumpingDate extends RealDate {
  constructor(...parts: [] | [number | string | Date]) {
    if (parts.length === 0) super(RealDate.now() + offsetMs);
    else super(...(parts as unknown as [number]));
  }

  static override now(): number {
    return RealDate.now() + offsetMs;
  }
}

globalThis.Date = JumpingDate as DateConstructor;
process.on("SIGUSR2", () => {
  offsetMs += jumpMs;
  process.stderr.write("[clock] jumped\n");
});
