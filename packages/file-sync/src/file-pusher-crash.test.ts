import { mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { startCrashChild } from "@vaultwarden-stream/testkit";
import { describe, expect, test } from "vitest";
import { checkStore, makePushRig, temporaryDirectory } from "./push-testing.ts";
import type { PushCrashPoint } from "./push-types.ts";
import { readTree } from "./test-tree.ts";

const entry = new URL("file-pusher.crash-child.ts", import.meta.url).pathname;

/** Where, at which hit, and whether the manifest counts by then. */
const kills: [PushCrashPoint, number, boolean][] = [
  ["blob-stored", 1, false],
  ["blob-stored", 3, false],
  ["blobs-stored", 1, false],
  ["manifest-stored", 1, true],
  ["pointer-stored", 1, true],
  ["cache-saved", 1, true],
];

describe("a push that is killed", () => {
  test.each(kills)(
    "at %s, hit %i: the store is sound, and the next push ends it",
    async (crashAt, nth, isNamed) => {
      const storeDirectory = join(temporaryDirectory(), "store");
      const store = new DirectoryStore(storeDirectory);
      const rig = makePushRig(store);
      const { directory, files } = rig;
      const newest = async () => (await rig.newest())?.entries;
      mkdirSync(join(files, "sub"), { recursive: true });
      for (const name of ["a", "b", "sub/c"]) {
        writeFileSync(join(files, name), `content ${name}`);
        utimesSync(join(files, name), 1, 1);
      }
      await rig.push(await rig.open());
      const before = await newest();
      expect(before).toEqual(readTree("files", files));

      for (const name of ["a", "d", "e"]) writeFileSync(join(files, name), `new content ${name}`);
      rmSync(join(files, "b"));
      // So that there is something to save.
      rmSync(join(directory, "state"), { recursive: true, force: true });
      const childArguments = [files, storeDirectory, join(directory, "state")];
      const child = startCrashChild({ entry, arguments: childArguments, crashAt, nth });
      expect(await child.killed).toMatchObject({ byCrash: true, stderr: "" });
      await checkStore(store);
      expect(await newest()).toEqual(isNamed ? readTree("files", files) : before);

      await rig.push(await rig.open());
      await checkStore(store);
      expect(await newest()).toEqual(readTree("files", files));
    },
    120_000,
  );
});
