import { defaultSpoolCopyPolicy, type SpoolCopyPolicy } from "./plan-spool-copies.ts";
import {
  defaultSpoolMergePolicy,
  type SpoolMergePolicy,
  sizeRatioMax,
} from "./plan-spool-merge.ts";

/**
 * The most that the spool's LTX files take after a pass, in bytes on the disk: the newest stored file and the one that is being tried,
 * each of which holds a page at most once, what waits behind them, and the copies of stored files. While a pass runs, a capture and the
 * temporary of a merge come on top, one `fileBytesMax` each; what maintenance builds meanwhile is bounded apart (DESIGN.md, the spool).
 *
 * @param fileBytesMax - of a file that holds every page of the largest database of that time.
 */
export function spoolBytesMax(
  fileBytesMax: number,
  merges: SpoolMergePolicy = defaultSpoolMergePolicy,
  copies: SpoolCopyPolicy = defaultSpoolCopyPolicy,
): number {
  const largest = Math.max(fileBytesMax, merges.bytesMax);
  const waiting = Math.floor((largest * sizeRatioMax) / (sizeRatioMax - 1));
  return 2 * fileBytesMax + waiting + copies.bytesMax;
}
