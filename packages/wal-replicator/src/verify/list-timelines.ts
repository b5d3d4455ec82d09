import type { RequestOptions } from "@vaultwarden-stream/object-store";
import { daemonTimelinesUnder, type ReplicaRoot } from "../replica/replica.ts";
import { isTimelineName, parseLtxKey } from "../replica/replica-layout.ts";

/** Epochs of ten million are not reached by a start a second for four months: all names begin with it. */
const firstDigit = "0";

/**
 * Names of the timelines that have files, whatever the epochs say: a timeline whose epoch's record is gone is found by nothing else. One LIST
 * of all timelines, and one more where somebody was only given the place of a store (see `findTimeline`).
 */
export async function listTimelineNames(
  root: ReplicaRoot,
  request: RequestOptions,
): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  const places = root.timelinesUnder === "" ? ["", daemonTimelinesUnder] : [root.timelinesUnder];
  for (const place of places) {
    const under = root.prefix + place;
    for await (const page of root.store.list(under + firstDigit, request)) {
      for (const { key } of page) {
        const [name = ""] = key.slice(under.length).split("/", 1);
        const isFile = parseLtxKey(key.slice(under.length + name.length + 1)) !== undefined;
        if (isFile && isTimelineName(name)) names.add(name);
      }
    }
  }
  return names;
}
