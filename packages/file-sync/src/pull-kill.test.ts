import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { startCrashChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeManifest } from "./manifests.ts";
import { pullTree } from "./pull.ts";
import {
  directoryRoot,
  entriesOf,
  putBlobs,
  readTree,
  type TestNode,
  writeTree,
} from "./test-tree.ts";

const entry = new URL("pull-kill-child.ts", import.meta.url).pathname;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pull-kill-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const file = (fill: number, size: number): TestNode => ({
  mode: 0o640,
  mtimeMs: 1_764_000_000_123,
  content: new Uint8Array(size).fill(fill),
});

describe("a pull that is killed", () => {
  it("goes on from wherever it was to the whole tree, and the living one is as it was", async () => {
    const tree = new Map<string, TestNode>([
      ["r", { mode: 0o755 }],
      ["r/big", file(1, 1_500_000)],
      ["r/dir", { mode: 0o555 }],
      ["r/dir/twin", file(2, 1000)],
      ["r/empty", { mode: 0o700 }],
      ["r/living", file(3, 5000)],
      ["r/nothing", file(0, 0)],
      ["r/twin", file(2, 1000)],
    ]);
    const store = new DirectoryStore(join(directory, "store"));
    await putBlobs(store, tree);
    const entries = entriesOf(tree);
    const ref = { timeline: "t", epoch: 1, sequence: 1, txid: "0".repeat(16), time: new Date(0) };
    await writeManifest(store, { ...ref, entries });
    const live = join(directory, "live");
    writeTree(
      live,
      new Map([
        ["r", { mode: 0o755 }],
        ["r/living", file(3, 5000)],
        ["r/mine", file(9, 9)],
      ]),
    );
    const liveBefore = readTree("r", live);

    const building = join(directory, "building");
    const places = {
      roots: [directoryRoot("r", live)],
      building: () => building,
      reuse: () => live,
    };
    const kill = (crashAt: string, nth = 1) =>
      startCrashChild({
        entry,
        arguments: [join(directory, "store"), live, building],
        crashAt,
        nth,
      }).killed;
    const points: [string, number][] = [
      ["directories-made", 1],
      ["file-created", 1],
      ["file-created", 3],
      ["chunk-written", 2],
      ["file-written", 1],
      ["file-written", 4],
      ["files-written", 1],
      ["built", 1],
    ];
    for (const [point, nth] of points) {
      rmSync(building, { recursive: true, force: true });
      expect(await kill(point, nth), point).toMatchObject({ byCrash: true });
      expect(readTree("r", live)).toEqual(liveBefore);
      // Something that an earlier version of the manifest had.
      if (point === "directories-made") writeFileSync(join(building, "left"), "left");
      // And once more in the middle of the second one.
      if (nth === 3) expect(await kill("file-created")).toMatchObject({ byCrash: true });
      const result = await pullTree({ store, entries, ...places });
      expect(result).toMatchObject({ bad: [] });
      if (point === "built") expect(result).toMatchObject({ kept: 5, fetched: 0, copied: 0 });
      expect(readTree("r", building)).toEqual(entries);
      expect(readTree("r", live)).toEqual(liveBefore);
    }
  }, 300_000);
});
