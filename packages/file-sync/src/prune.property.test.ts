import { FaultyStore, MemoryStore, type ObjectStore } from "@vaultwarden-stream/object-store";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blobKey, blobPrefix } from "./blob-key.ts";
import { chooseManifest, type Lineage, manifestsOf } from "./choose-manifest.ts";
import type { Manifest } from "./manifest.ts";
import { type ManifestRef, manifestKey } from "./manifest-key.ts";
import { listManifests, readManifest, writeManifest } from "./manifests.ts";
import { type PruneOptions, prune } from "./prune.ts";
import { digest } from "./test-tree.ts";

const hourMs = 3_600_000;
const retentionMs = 20 * hourMs;
const graceMs = 3 * hourMs;
const startMs = Date.UTC(2026, 0, 1);
const windowMs = 4 * hourMs;
const precisions = [
  { keepMs: 5 * hourMs, windowMs: 0 },
  { keepMs: retentionMs, windowMs },
];
/** Of the files 0 to 9 a database has rows of these. */
const isNamedElsewhere = (path: string): boolean => Number(path) >= 5;

/** What happens to the store, one after the other. */
type Step =
  /** Blobs are sent; the manifest follows, or never does: a push that was killed. */
  | {
      readonly kind: "push";
      readonly files: readonly number[];
      readonly isKilled: boolean;
      /** How wrong the writer's clock is, in hours. */
      readonly skew: number;
    }
  | { readonly kind: "wait"; readonly hours: number }
  /** A new timeline branches off from the newest one where it is; or from one TXID earlier, so that the last manifest is not of the line. */
  | { readonly kind: "branch"; readonly isEarlier: boolean }
  /** The request with this number fails, and that is as good as a kill. */
  | { readonly kind: "prune"; readonly failing: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("push" as const),
      files: fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 4 }),
      isKilled: fc.boolean(),
      skew: fc.constantFrom(0, 0, 0, -15, 40),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      hours: fc.integer({ min: 1, max: 12 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("branch" as const), isEarlier: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("prune" as const),
      failing: fc.integer({ min: 1, max: 40 }),
    }),
  },
);

/** A vault's life with wrong clocks, killed pushes, branches, and prunes that fail anywhere. */
class History {
  nowMs = startMs;
  readonly now = (): Date => new Date(this.nowMs);
  readonly store = new MemoryStore({ now: this.now });
  lineage: Lineage = [{ timeline: "0" }];
  #epoch = 1;
  #sequence = 0;
  #txid = 1;
  #base: Manifest | undefined;

  async run(step: Step): Promise<void> {
    if (step.kind === "wait") this.nowMs += step.hours * hourMs;
    if (step.kind === "push") await this.#push(step);
    if (step.kind === "branch") this.#branch(step.isEarlier);
    if (step.kind === "prune") await this.#prune(step.failing);
  }

  async #push({ files, isKilled, skew }: Step & { readonly kind: "push" }): Promise<void> {
    this.#txid += 1;
    const entries = files.toSorted().map((file) => {
      const content = new Uint8Array([file]);
      const sha256 = digest(content);
      return { kind: "file", path: `${file}`, mode: 0, mtimeMs: 0, size: 1, sha256 } as const;
    });
    const known = new Set(this.#base?.entries.map(({ path }) => path));
    for (const { path, sha256 } of entries) {
      if (!known.has(path)) await this.store.put(blobKey(sha256), new Uint8Array([Number(path)]));
    }
    if (isKilled) return;
    const manifest: Manifest = {
      timeline: this.lineage[0]?.timeline ?? "",
      epoch: this.#epoch,
      sequence: ++this.#sequence,
      txid: toTxid(this.#txid),
      time: new Date(this.nowMs + skew * hourMs),
      entries,
    };
    await writeManifest(this.store, manifest);
    this.#base = manifest;
  }

  #branch(isEarlier: boolean): void {
    const [head, ...older] = this.lineage;
    if (head === undefined) return;
    const upToTxid = toTxid(isEarlier ? this.#txid - 1 : this.#txid);
    this.#epoch += 1;
    this.#sequence = 0;
    // A new writer knows what is in the store only from what its own line has there.
    this.#base = undefined;
    this.lineage = [{ timeline: `${this.#epoch}` }, { ...head, upToTxid }, ...older];
  }

  async #prune(failing: number): Promise<void> {
    const before = await snapshot(this.store);
    let requests = 0;
    const store = new FaultyStore(this.store, () =>
      ++requests === failing ? { kind: "error-before", code: "UNREACHABLE" } : undefined,
    );
    const options = {
      store,
      now: this.now,
      precisions,
      // Any moments will do: those of the manifests themselves are the hardest.
      moments: before.refs.filter((_, index) => index % 5 === 0).map(({ time }) => time),
      isNamedElsewhere,
      graceMs,
      lineages: [this.lineage],
      parallel: 1,
    };
    await prune(options).catch((error: unknown) => {
      if ((error as { code?: string }).code !== "UNREACHABLE") throw error;
    });
    await this.#check(before, options);
  }

  async #check(before: Snapshot, options: PruneOptions): Promise<void> {
    const after = await snapshot(this.store);
    // Whatever is there can be restored.
    for (const digests of after.manifests.values()) {
      for (const sha256 of digests) expect(after.blobs.has(sha256), sha256).toBe(true);
    }
    // Every moment has the state that it had, or one that lacks what was pushed within the window of its age.
    const line = manifestsOf(before.refs, this.lineage);
    const isInOrder = line.every(
      ({ time }, index) => index === 0 || time >= (line[index - 1]?.time ?? 0),
    );
    for (let ageMs = 0; ageMs <= retentionMs; ageMs += hourMs) {
      const at = new Date(this.nowMs - ageMs);
      const wanted = chooseManifest(before.refs, this.lineage, at);
      const chosen = chooseManifest(after.refs, this.lineage, at);
      if (ageMs <= 5 * hourMs) expect(keyOf(chosen)).toBe(keyOf(wanted));
      if (!isInOrder || wanted === undefined) continue;
      const lacking = line.slice(
        line.findIndex((ref) => keyOf(ref) === keyOf(chosen)) + 1,
        line.indexOf(wanted) + 1,
      );
      expect(lacking.filter(({ time }) => at.getTime() - time.getTime() >= windowMs)).toEqual([]);
    }
    for (const at of options.moments) {
      if (this.nowMs - at.getTime() > retentionMs) continue;
      expect(keyOf(chooseManifest(after.refs, this.lineage, at))).toBe(
        keyOf(chooseManifest(before.refs, this.lineage, at)),
      );
    }
    // And no file is lost that a row may name.
    const recent = line.filter(({ time }) => this.nowMs - time.getTime() <= retentionMs);
    const held = new Set(
      manifestsOf(after.refs, this.lineage).flatMap((ref) => filesOf(after, ref)),
    );
    for (const file of recent.flatMap((ref) => filesOf(before, ref))) {
      if (isNamedElsewhere(file)) expect(held.has(file), file).toBe(true);
    }
    expect(keyOf(chooseManifest(after.refs, this.lineage))).toBe(
      keyOf(chooseManifest(before.refs, this.lineage)),
    );
    // Once nothing fails, what is not needed is gone: the newest and those of the retention are left, and no other blob that is old.
    const { stopped } = await prune({ ...options, store: this.store });
    if (stopped !== undefined) return;
    const left = await snapshot(this.store);
    const named = new Set([...left.manifests.values()].flat());
    for (const [sha256, lastModified] of left.blobs) {
      if (!named.has(sha256)) expect(this.nowMs - lastModified).toBeLessThanOrEqual(graceMs);
    }
  }
}

interface Snapshot {
  readonly refs: readonly ManifestRef[];
  readonly manifests: ReadonlyMap<string, readonly string[]>;
  /** Paths by the key of a manifest. */
  readonly paths: ReadonlyMap<string, readonly string[]>;
  /** By digest, with the time of the last PUT. */
  readonly blobs: ReadonlyMap<string, number>;
}

async function snapshot(store: ObjectStore): Promise<Snapshot> {
  const refs = await listManifests(store);
  const manifests = new Map<string, string[]>();
  const paths = new Map<string, string[]>();
  for (const ref of refs) {
    const { entries } = await readManifest(store, ref);
    const digests = entries.flatMap((entry) => (entry.kind === "file" ? entry.sha256 : []));
    manifests.set(manifestKey(ref), digests);
    paths.set(
      manifestKey(ref),
      entries.map(({ path }) => path),
    );
  }
  const blobs = new Map<string, number>();
  for await (const page of store.list(blobPrefix)) {
    for (const { key, lastModified } of page) blobs.set(key.slice(-64), lastModified.getTime());
  }
  return { refs, manifests, paths, blobs };
}

function filesOf({ paths }: Snapshot, ref: ManifestRef): readonly string[] {
  return paths.get(manifestKey(ref)) ?? [];
}

function keyOf(ref: ManifestRef | undefined): string | undefined {
  return ref === undefined ? undefined : manifestKey(ref);
}

function toTxid(value: number): string {
  return value.toString(16).padStart(16, "0");
}

describe("prune over any history", () => {
  it("leaves every moment within the retention its state, and every manifest its blobs, wherever it fails", async () => {
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 60 }),
      async (steps) => {
        const history = new History();
        for (const one of [...steps, { kind: "prune", failing: 1000 } as const])
          await history.run(one);
      },
    );
    await fc.assert(property, { numRuns: 300 });
  });
});
