/**
 * A process that pushes a directory into a directory store, and kills itself at the point that its arguments name.
 * Arguments: directory of the files, of the store, of the state.
 */
import { DirectoryStore } from "@vaultwarden-stream/object-store";
import { argumentsWithoutCrashPoint, crashPointsFromArguments } from "@vaultwarden-stream/testkit";
import { openFilePusher } from "./file-pusher.ts";
import { listManifests, readManifest } from "./manifests.ts";

const [files = "", storeDirectory = "", stateDirectory = ""] = argumentsWithoutCrashPoint();
const store = new DirectoryStore(storeDirectory);
const place = { timeline: "00000001-0badcafe", epoch: 1, txid: "0000000000000001" };
const newest = (await listManifests(store, place)).at(-1);
const pusher = await openFilePusher({
  store,
  roots: [{ name: "files", kind: "directory", path: files }],
  stateDirectory,
  base: newest === undefined ? undefined : await readManifest(store, newest),
  judge: async (changes) => changes.map(() => "complete"),
  now: () => new Date(),
  nowMs: () => performance.now(),
  sleep: () => Promise.reject(new Error("nothing to sleep for")),
  onEvent: () => undefined,
  onCrashPoint: crashPointsFromArguments(),
});
await pusher.push({ place: () => place });
