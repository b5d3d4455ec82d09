/** A process that pulls the newest manifest and dies where its crash arguments say. Arguments: directories of the store, of the live tree, of the build. */
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { argumentsWithoutCrashPoint, crashPointsFromArguments } from "@vaultwarden-stream/testkit";
import { listManifests, readManifest } from "./manifests.ts";
import { pullTree } from "./pull.ts";

const [storeDirectory = "", live = "", building = ""] = argumentsWithoutCrashPoint();
const store = new DirectoryStore(storeDirectory);
const newest = (await listManifests(store)).at(-1);
if (newest === undefined) throw new Error("no manifest");
const { entries } = await readManifest(store, newest);
await pullTree({
  store,
  entries,
  roots: [{ name: "r", kind: "directory", path: live }],
  building: () => building,
  reuse: () => live,
  parallel: 2,
  at: crashPointsFromArguments(),
});
