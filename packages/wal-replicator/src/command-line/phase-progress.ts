import type { Output } from "./output.ts";
import type { Progress } from "./progress.ts";

/** Shows the progress of work that has several phases, one bar after the other. `clear` ends the last one. */
export function phaseProgress(output: Output): {
  readonly update: (phase: string, bytesDone: number, bytesTotal: number) => void;
  readonly clear: () => void;
} {
  let shown: { readonly phase: string; readonly progress: Progress } | undefined;
  return {
    update(phase, bytesDone, bytesTotal) {
      if (shown?.phase !== phase) {
        shown?.progress.clear();
        shown = { phase, progress: output.progress(phase) };
      }
      shown.progress.update(bytesDone, bytesTotal);
    },
    clear: () => shown?.progress.clear(),
  };
}
