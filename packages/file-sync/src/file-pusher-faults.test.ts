/**
 * Goal: whatever request fails, before or after its effect, the manifests in the store only name blobs that are there, and the next
 * pushes get everything in.
 *
 * Method: a history of a few pushes with changes in between; in run k the k-th request fails, for every k until a run has fewer. A
 * push that fails is tried again, as the loop does.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Fault, FaultyStore, MemoryStore } from "@vaultwarden-stream/object-store";
import { expect, test } from "vitest";
import { checkStore, makePushRig } from "./push-testing.ts";
import { readTree } from "./test-tree.ts";

const faults: [string, Fault][] = [
  ["fails before its effect", { kind: "error-before", code: "UNREACHABLE" }],
  ["fails after its effect", { kind: "error-after", code: "UNREACHABLE" }],
  ["breaks in the middle", { kind: "cut-body", afterBytes: 3 }],
];

test.each(faults)("every request %s, one in each run", async (_, fault) => {
  let requestCount = 0;
  for (let kth = 1; ; kth += 1) {
    requestCount = await runHistory(fault, kth);
    if (requestCount < kth) break;
  }
  expect(requestCount).toBeGreaterThan(10);
});

/** @returns how many requests there were. */
async function runHistory(fault: Fault, kth: number): Promise<number> {
  const memory = new MemoryStore();
  const rig = makePushRig(memory);
  let requestCount = 0;
  const store = new FaultyStore(memory, () => {
    requestCount += 1;
    return requestCount === kth ? fault : undefined;
  });
  const pusher = await rig.open({ store, uploadsMax: 2 });
  const push = async (): Promise<void> => {
    for (;;) {
      const failure = await rig.push(pusher).then(
        () => undefined,
        (error: unknown) => error,
      );
      await checkStore(memory);
      if (failure === undefined) break;
      expect(failure).toMatchObject({ code: "UNREACHABLE" });
      expect(pusher.status().backlogSince).toBeDefined();
    }
    expect((await rig.newest())?.entries).toEqual(readTree("files", rig.files));
    expect(pusher.status()).toMatchObject({ failure: undefined, backlogSince: undefined });
  };

  mkdirSync(join(rig.files, "sub"), { recursive: true });
  for (const name of ["a", "b", "sub/c"]) writeFileSync(join(rig.files, name), `content ${name}`);
  await push();
  writeFileSync(join(rig.files, "a"), "replaced");
  writeFileSync(join(rig.files, "d"), "content b");
  await push();
  rmSync(join(rig.files, "sub/c"));
  await push();
  rig.place = { timeline: "00000002-feedface", epoch: 2, txid: "0000000000000002" };
  writeFileSync(join(rig.files, "e"), "in the new timeline");
  await push();
  return requestCount;
}
