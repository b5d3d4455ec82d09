/**
 * Ours in the scenario `files`, on the command line, with the store's credentials in the environment:
 *
 *     push <store url> <tree> <state directory> <parallel>    once, and again at each message of the parent, until that is gone
 *     pull <store url> <tree> <parallel>                      of the newest manifest, into a directory that is not there
 *
 * The newest manifest is found by the listing, as at a daemon's start. All that lies in the tree is taken for complete.
 */
import { once } from "node:events";
import {
  listManifests,
  type Manifest,
  openFilePusher,
  pullTree,
  readManifest,
} from "@vaultwarden-stream/file-sync";
import { type ObjectStore, openObjectStore, RetryingStore } from "@vaultwarden-stream/object-store";
import { sleepMs } from "./statistics.ts";

/** What the parent is told after each push. */
export interface PushedMessage {
  /** Of the push alone: the process may have begun for it, and looked for the newest manifest. */
  readonly seconds: number;
  /** Objects of the file tree that could not be stored; there should be none. */
  readonly notes: readonly string[];
}

const timeline = "bench";
const retryBudgetMs = 10_000;

async function push(
  store: ObjectStore,
  base: Manifest | undefined,
  tree: string,
  stateDirectory: string,
  parallel: number,
): Promise<void> {
  const pusher = await openFilePusher({
    store,
    roots: [rootAt(tree)],
    stateDirectory,
    base,
    judge: async (changes) => changes.map(() => "complete"),
    now: () => new Date(),
    nowMs: () => performance.now(),
    sleep: sleepMs,
    onEvent: () => {},
    uploadsMax: parallel,
  });
  const place = { timeline, epoch: (base?.epoch ?? 0) + 1, txid: "0000000000000001" };
  for (;;) {
    const startMs = performance.now();
    await pusher.push({ place: () => place });
    const notes = pusher.status().notes.map(({ path, reason }) => `${path}: ${reason}`);
    const message: PushedMessage = { seconds: (performance.now() - startMs) / 1000, notes };
    if (process.send === undefined) break;
    process.send(message);
    await once(process, "message");
  }
  await pusher.close();
}

async function pull(
  store: ObjectStore,
  newest: Manifest | undefined,
  tree: string,
  parallel: number,
): Promise<void> {
  if (newest === undefined) throw new Error("there is no manifest to pull");
  const { bad } = await pullTree({
    store,
    entries: newest.entries,
    // Nothing lives there; only where it is built counts.
    roots: [rootAt(`${tree}.live`)],
    building: () => tree,
    parallel,
  });
  const [first] = bad;
  if (first !== undefined) throw new Error(`${bad.length} bad, as ${first.path}: ${first.why}`);
}

function rootAt(path: string): { name: string; kind: "directory"; path: string } {
  return { name: "attachments", kind: "directory", path };
}

const [command, url = "", tree = "", ...rest] = process.argv.slice(2);
process.on("disconnect", () => process.exit());
const store = new RetryingStore(openObjectStore(url), { budgetMs: retryBudgetMs });
const ref = (await listManifests(store, { timeline })).at(-1);
const newest = ref && (await readManifest(store, ref));
if (command === "push") {
  const [stateDirectory = "", parallel = ""] = rest;
  await push(store, newest, tree, stateDirectory, Number(parallel));
} else if (command === "pull") {
  await pull(store, newest, tree, Number(rest[0]));
} else {
  throw new Error(`push or pull, not ${command}`);
}
