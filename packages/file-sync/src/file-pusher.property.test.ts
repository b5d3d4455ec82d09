/**
 * Whatever trees follow each other: after a push the manifest equals the tree, all that it names is in the store, and a second push
 * has nothing to do.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkStore, makePushRig } from "./push-testing.ts";
import { anyTree, readTree, writeTree } from "./test-tree.ts";

test("a manifest equals the tree, and a plan after its execution is empty", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyTree("files"), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 100_000 }),
      async (trees, batchBytesMax) => {
        const rig = makePushRig();
        let pusher = await rig.open({ batchBytesMax });
        for (const tree of trees) {
          rmSync(rig.files, { recursive: true, force: true });
          mkdirSync(rig.files);
          writeTree(rig.files, tree);
          await rig.push(pusher);
          expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
          expect(pusher.status().notes).toEqual([]);
          await checkStore(rig.memory);
          rig.takePutCount();
          rig.advance(10_000);
          await rig.push(pusher);
          pusher = await rig.open({ batchBytesMax });
          await rig.push(pusher);
          expect(rig.takePutCount()).toBe(0);
        }
        rmSync(join(rig.directory), { recursive: true, force: true });
      },
    ),
    { numRuns: 40 },
  );
}, 120_000);
