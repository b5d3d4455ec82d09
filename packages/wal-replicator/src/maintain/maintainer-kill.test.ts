import { mkdtempSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { type CrashExit, startCrashChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { listTimeline } from "../replica/replica.ts";
import { TestHistory, testTimeline } from "./history-testing.ts";

const entry = new URL("maintainer-kill-child.ts", import.meta.url).pathname;
const startMs = Date.UTC(2026, 10, 1, 12);
const nowMs = startMs + 9 * 86_400_000;

let directory: string;
let history: TestHistory;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "maintainer-kill-"));
  history = new TestHistory(new DirectoryStore(join(directory, "store")));
});
afterEach(() => {
  history.remove();
  rmSync(directory, { recursive: true, force: true });
});

describe("a maintainer that is killed", () => {
  it.each([
    ["compaction-written", 1, 0],
    ["compaction-written", 9, 8],
    ["compaction-stored", 1, 1],
    ["compaction-stored", 12, 12],
    ["snapshot-written", 1, 12],
    ["snapshot-stored", 1, 13],
  ])("at %s (%i) leaves nothing wrong, and the next life finishes its work", async (...given) => {
    const [crashAt, nth, storedCount] = given;
    for (let index = 0; index < 9; index += 1) await history.commit(startMs + index * 100_000);
    const snapshot = await history.writeSnapshot(join(directory, "snapshot.ltx"), nowMs);
    const scratch = join(directory, "scratch");
    const checksum = snapshot.name.rollingChecksum as string;
    const life = (crash: { crashAt?: string; nth?: number }): Promise<CrashExit> =>
      startCrashChild({
        entry,
        arguments: [join(directory, "store"), scratch, snapshot.path, String(nowMs), checksum],
        ...crash,
      }).killed;

    expect(await life({ crashAt, nth })).toMatchObject({ byCrash: true, stderr: "" });
    const left = await listTimeline(history.root, testTimeline);
    expect(left.files).toHaveLength(9 + storedCount);
    expect(await history.expectRestores()).toBe(9);
    const temporaries = await readdir(scratch);
    expect(temporaries).not.toEqual([]);

    expect(await life({})).toMatchObject({ code: 0, stderr: "" });
    expect(await readdir(scratch)).toEqual([]);
    const { files } = await listTimeline(history.root, testTimeline);
    const counts = [0, 1, 2, 3, 9].map(
      (level) => files.filter((file) => file.level === level).length,
    );
    expect(counts).toEqual([9, 8, 3, 1, 1]);
    expect(await history.expectRestores()).toBe(9);
  });
});
