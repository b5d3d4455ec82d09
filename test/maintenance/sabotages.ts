import type { Mutation, MutationEdit } from "./mutation.ts";

const maintain = "wal-replicator/src/maintain/";

function edit(file: string, find: string, replace: string): MutationEdit {
  return { file, find, replace };
}

function inCompaction(name: string, find: string, replace: string): Mutation {
  return { name, edits: [edit(`${maintain}plan-compaction.ts`, find, replace)] };
}

/** The plan of retention looks at its own result in the end, and would refuse most of these: that has to go with the rule. */
function inRetention(
  name: string,
  find: string,
  replace: string,
  file = "plan-retention",
): Mutation {
  const unchecked = edit(
    `${maintain}plan-retention.ts`,
    "if (lost.length > 0) return",
    "if (lost.length < 0) return",
  );
  return { name, edits: [unchecked, edit(`${maintain}${file}.ts`, find, replace)] };
}

function inPrune(name: string, find: string, replace: string, file = "plan-prune"): Mutation {
  return { name, edits: [edit(`file-sync/src/${file}.ts`, find, replace)] };
}

/** Each removes one rule of what keeps a replica for years. */
export const sabotages: readonly Mutation[] = [
  inCompaction(
    "a merged file may cover more than one window",
    "const isOther = windowOf(file, intervalMs) !== windowOf(first, intervalMs);",
    "const isOther = false;",
  ),
  inCompaction(
    "the copy that a timeline begins with is merged too",
    "if (file.minTxid > 1n) yield file;",
    "yield file;",
  ),
  inCompaction(
    "what a lower level holds of a window is not waited for",
    "if (file.level !== level - 1) return undefined;",
    "",
  ),
  inCompaction(
    "a level does not go on where it and those above it end",
    "reached = max(reached, end(catalog, above));",
    "",
  ),
  {
    name: "no snapshot for having none for long",
    edits: [
      edit(
        `${maintain}plan-snapshot.ts`,
        "if (ageMs >= policy.snapshotAtLeastMs) return true;",
        "",
      ),
    ],
  },
  {
    name: "a snapshot as soon as there is enough to copy",
    edits: [
      edit(
        `${maintain}plan-snapshot.ts`,
        "const isOldEnough = ageMs >= policy.snapshotIntervalMs || ageMs < 0;",
        "const isOldEnough = true;",
      ),
    ],
  },
  {
    name: "a merged file has the rolling checksum of its first source",
    edits: [
      edit(
        `${maintain}compact.ts`,
        "files.at(-1)?.name.rollingChecksum",
        "files.at(0)?.name.rollingChecksum",
      ),
    ],
  },
  inRetention(
    "what is merged goes at once",
    "if (coverAgeMs <= keptBelowMs(policy, cover.level) + policy.graceMs) continue;",
    "if (coverAgeMs <= policy.graceMs) continue;",
  ),
  inRetention(
    "no grace for who is restoring",
    "if (coverAgeMs <= keptBelowMs(policy, cover.level) + policy.graceMs) continue;",
    "if (coverAgeMs <= keptBelowMs(policy, cover.level)) continue;",
  ),
  inRetention(
    "no grace where a merge came late",
    "if (nowMs - (storedMs?.(cover) ?? 0) <= policy.graceMs) continue;",
    "",
  ),
  inRetention(
    "files go one by one, and not as they were merged",
    "(times.get(cover.maxTxid) ?? nowMs)",
    "(times.get(file.maxTxid) ?? nowMs)",
  ),
  inRetention("the base at the horizon goes too", "verdicts.delete(horizon);", ""),
  inRetention(
    "the horizon comes nearer than the retention",
    "ageMs > retentionMs + policy.graceMs;",
    "ageMs > policy.graceMs;",
  ),
  inRetention(
    "nothing is beyond the retention",
    "if (horizon === undefined) return verdicts;",
    "return verdicts;",
  ),
  inRetention(
    "dead lines go at once",
    "return nowMs <= keptUntilMs(dead, policy) + policy.graceMs;",
    "return nowMs <= policy.graceMs;",
  ),
  inRetention(
    "what a dead line restores over is not kept",
    "if (first !== undefined) need(timeline.timeline, first);",
    "",
  ),
  inRetention(
    "a branch that is new is not looked for",
    "!(await isEpochAbove(root, this.#log, mode, request))",
    "true",
    "retain",
  ),
  inRetention(
    "what a drill has proved is not kept",
    "for (const { timeline, txid } of points) need(timeline, txid);",
    "",
  ),
  inRetention(
    "the newest file of a level may go",
    "for (const file of newestOfLevels(files.filter((one) => living.has(one)))) needed.add(file);",
    "",
  ),
  inRetention(
    "of an ancestor all files count, those behind the branch too",
    "filesOf(part.timeline).filter(({ maxTxid }) => maxTxid <= part.txid)",
    "filesOf(part.timeline)",
    "line-files",
  ),
  inRetention(
    "the clock is believed",
    "if (Math.abs(nowMs - storeMs) <= clockDifferenceMaxMs) return storeMs;",
    "return nowMs;",
    "retain",
  ),
  inPrune(
    "the manifest in force at a moment may go",
    "for (const ref of inForceAt(ordered, [horizon, ...moments])) kept.add(ref);",
    "",
  ),
  {
    name: "a blob goes whoever names it",
    edits: [
      edit("file-sync/src/plan-prune.ts", "return !named.has(sha256) && seenAt", "return seenAt"),
      edit(
        "file-sync/src/prune.ts",
        "blobs.filter(({ sha256 }) => !this.#named.has(sha256))",
        "blobs",
      ),
    ],
  },
  inPrune(
    "the one manifest that has a file may go",
    "if (isAlone) this.#note(ref, manifest);\n        else remove.push(ref);",
    "remove.push(ref);",
    "prune",
  ),
  inPrune(
    "manifests of dead lines go at once",
    "if (own.some(isRecent)) for (const ref of own) kept.add(ref);",
    "",
  ),
];
