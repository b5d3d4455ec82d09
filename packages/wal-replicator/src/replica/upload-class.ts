import type { UploadClass } from "@vaultwarden-stream/object-store";
import { isTimelineName, parseLtxKey } from "./replica-layout.ts";

/**
 * What a key of a replica set is for: commits (level 0) go first; epochs and leases, and what finds out about conditional writes at a start, are
 * never held back, for who cannot renew its lease is taken for dead; everything else can wait.
 */
export function uploadClass(key: string, timelinesUnder: string): UploadClass {
  if (key.startsWith("epochs/") || key.startsWith("probe/")) return "free";
  if (!key.startsWith(timelinesUnder)) return "background";
  const [timeline = "", ...rest] = key.slice(timelinesUnder.length).split("/");
  if (!isTimelineName(timeline)) return "background";
  return parseLtxKey(rest.join("/"))?.level === 0 ? "stream" : "background";
}
