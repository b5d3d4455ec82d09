/** What was pushed comes back as it was, whatever its names, modes and sizes are, and into whatever was being built there. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isEmptyPull } from "./plan-pull.ts";
import { previewPull, pullTree } from "./pull.ts";
import { makePushRig } from "./push-testing.ts";
import { anyTree, readTree, writeTree } from "./test-tree.ts";

test("pull(push(tree)) equals the tree, and the plan of a second pull is empty", async () => {
  await fc.assert(
    fc.asyncProperty(anyTree("files"), anyTree("files"), async (tree, unfinished) => {
      const rig = makePushRig();
      writeTree(rig.files, tree);
      await rig.push(await rig.open());
      const manifest = await rig.newest();
      const pushed = readTree("files", rig.files);
      expect(manifest?.entries).toEqual(pushed);

      const building = join(rig.directory, "building");
      // What another pull left.
      mkdirSync(building);
      writeTree(building, unfinished);
      const pull = {
        store: rig.memory,
        entries: manifest?.entries ?? [],
        roots: [{ name: "files", kind: "directory", path: rig.files }] as const,
        building: () => building,
      };
      expect((await pullTree(pull)).bad).toEqual([]);
      expect(readTree("files", building)).toEqual(pushed);
      expect(isEmptyPull(await previewPull(pull))).toBe(true);
      rmSync(rig.directory, { recursive: true, force: true });
    }),
    { numRuns: 60 },
  );
}, 120_000);
