import type { ReplicaFile } from "../replica/catalog.ts";
import { retentionOf } from "./covers.ts";
import { lineOf, type TimelineFiles } from "./line-files.ts";
import type { MaintenancePolicy } from "./policy.ts";

/** What a plain restore never takes: a branch, an overtaken line, or what an ancestor of the head wrote after the head had left it. */
export interface DeadLine<T extends TimelineFiles = TimelineFiles> {
  readonly timeline: T;
  /** All of the timeline, or only those that end behind the branch point. Never empty. */
  readonly files: readonly ReplicaFile[];
}

/** Pure. @param head - undefined: there is none, and all lines are dead. */
export function deadLines<T extends TimelineFiles>(
  head: string | undefined,
  timelines: ReadonlyMap<string, T>,
): DeadLine<T>[] {
  const living = new Set(head === undefined ? [] : lineOf(head, timelines));
  return [...timelines.values()].flatMap((timeline) => {
    const files = timeline.files.filter((file) => !living.has(file));
    return files.length === 0 ? [] : [{ timeline, files }];
  });
}

/** Until when a dead line can be asked for by its name, in milliseconds since the Unix epoch. It goes a grace later, whole. */
export function keptUntilMs(
  { timeline }: DeadLine<TimelineFiles & { readonly lastStoredMs: number }>,
  policy: Pick<MaintenancePolicy, "keepMs">,
): number {
  return timeline.lastStoredMs + retentionOf(policy);
}
