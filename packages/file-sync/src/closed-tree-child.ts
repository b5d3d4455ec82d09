/**
 * A process that is not root pulls a tree whose directories and files shut out their owner, twice into the same place, and swaps it in. Says
 * after each step whether the tree is there. Argument: a directory to make.
 */
import { chmodSync, lstatSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { MemoryStore } from "@vaultwarden-stream/object-store";
import { pullTree } from "./pull.ts";
import { swapTrees } from "./swap-tree.ts";
import { directoryRoot, entriesOf, putBlobs, type TestNode } from "./test-tree.ts";

const nobody = 65534;
if (process.getuid?.() === 0) {
  process.setgid?.(nobody);
  process.setuid?.(nobody);
}
const directory = process.argv[2] ?? "";
mkdirSync(directory);
const place = (name: string): string => join(directory, name);
const [building, live] = [place("building"), place("live")];
const file = (mode: number): TestNode => ({ mode, mtimeMs: 5, content: new Uint8Array([1, 2, 3]) });
const tree = new Map<string, TestNode>([
  ["r", { mode: 0o500 }],
  ["r/closed", { mode: 0o000 }],
  ["r/closed/inside", file(0o400)],
  ["r/closed/none", file(0o000)],
  ["r/closed/sub", { mode: 0o100 }],
]);
const store = new MemoryStore();
await putBlobs(store, tree);
const roots = [directoryRoot("r", live)];
for (let round = 0; round < 2; round += 1) {
  const pull = { store, entries: entriesOf(tree), roots, building: () => building };
  const { bad } = await pullTree(pull);
  compare(building, bad);
}
await swapTrees([{ live, incoming: building, aside: place("aside") }], {
  journal: place("journal"),
});
compare(live, []);
// Whoever cleans up may be no root either.
for (const path of tree.keys()) chmodSync(locate(live, path), 0o700);

function locate(base: string, path: string): string {
  return join(base, ...path.split("/").slice(1));
}

/** Opens everything on the way to see it, and closes it again. */
function compare(base: string, bad: readonly unknown[]): void {
  const modes = new Map<string, number>();
  collect("r", base, modes);
  const isSame =
    bad.length === 0 &&
    modes.size === tree.size &&
    [...tree].every(([path, { mode }]) => modes.get(path) === mode);
  process.stdout.write(isSame ? "same\n" : `${JSON.stringify([...modes, bad])}\n`);
  for (const [path, { mode }] of [...tree].toReversed()) chmodSync(locate(base, path), mode);
}

function collect(path: string, location: string, modes: Map<string, number>): void {
  const stats = lstatSync(location);
  modes.set(path, stats.mode & 0o7777);
  if (!stats.isDirectory()) return;
  chmodSync(location, 0o700);
  for (const name of readdirSync(location)) collect(`${path}/${name}`, join(location, name), modes);
}
