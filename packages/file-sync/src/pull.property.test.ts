import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CountingStore,
  type FaultPlan,
  FaultyStore,
  MemoryStore,
} from "@vaultwarden-stream/object-store";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isEmptyPull } from "./plan-pull.ts";
import { previewPull, pullTree } from "./pull.ts";
import { anyTree, directoryRoot, entriesOf, putBlobs, readTree, writeTree } from "./test-tree.ts";

async function inDirectory<T>(run: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "pull-"));
  try {
    return await run(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("a pulled tree", () => {
  it("is the one that was asked for, whatever lay there and lives beside, and a plan after its execution is empty", async () => {
    const property = fc.asyncProperty(
      anyTree("r"),
      anyTree("r"),
      anyTree("r"),
      (tree, left, live) =>
        inDirectory(async (directory) => {
          const store = new CountingStore(new MemoryStore());
          await putBlobs(store, tree);
          const building = join(directory, "building");
          const livePath = join(directory, "live");
          writeTree(building, left);
          writeTree(livePath, live);
          const liveBefore = readTree("r", livePath);
          const entries = entriesOf(tree);
          const options = {
            store,
            entries,
            roots: [directoryRoot("r", livePath)],
            building: () => building,
            reuse: () => livePath,
            parallel: 3,
          };
          const result = await pullTree(options);

          expect(result.bad).toEqual([]);
          expect(readTree("r", building)).toEqual(entries);
          expect(readTree("r", livePath)).toEqual(liveBefore);
          const contents = new Set(
            entries.flatMap((entry) => (entry.kind === "file" ? entry.sha256 : [])),
          );
          expect(store.counts.get).toBe(result.fetched);
          expect(result.fetched).toBeLessThanOrEqual(contents.size);
          const files = entries.filter(({ kind }) => kind === "file").length;
          expect(result.fetched + result.copied + result.kept).toBe(files);
          expect(isEmptyPull(await previewPull(options))).toBe(true);
        }),
    );
    await fc.assert(property, { numRuns: 60 });
  });

  it("comes about whichever request fails, and however, when the pull is begun again", async () => {
    const faults = [
      { kind: "error-before", code: "UNREACHABLE" },
      { kind: "error-after", code: "STORE_FAILED" },
      { kind: "error-before", code: "FORBIDDEN" },
      { kind: "cut-body", afterBytes: 0 },
      { kind: "cut-body", afterBytes: 66_000 },
    ] as const;
    const property = fc.asyncProperty(anyTree("r"), fc.constantFrom(...faults), (tree, fault) =>
      inDirectory(async (directory) => {
        const memory = new MemoryStore();
        await putBlobs(memory, tree);
        const entries = entriesOf(tree);
        const pull = (name: string, plan: FaultPlan) =>
          pullTree({
            store: new FaultyStore(memory, plan),
            entries,
            roots: [directoryRoot("r", join(directory, "live"))],
            building: () => join(directory, name),
            parallel: 2,
          });
        let requests = 0;
        for (let failing = 1; requests >= failing - 1; failing += 1) {
          requests = 0;
          const building = `building-${failing}`;
          const isFailing = () => (++requests === failing ? fault : undefined);
          const first = await pull(building, isFailing).catch((error: unknown) => error);
          if (requests >= failing && fault.kind !== "cut-body") {
            expect(first).toMatchObject({ code: fault.code });
          }
          expect(await pull(building, () => undefined)).toMatchObject({ bad: [] });
          expect(readTree("r", join(directory, building))).toEqual(entries);
        }
      }),
    );
    await fc.assert(property, { numRuns: 25 });
  });
});
