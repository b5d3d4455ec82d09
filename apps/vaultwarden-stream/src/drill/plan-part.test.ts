import type { FileEntry } from "@vaultwarden-stream/file-sync";
import { createPrng } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { contentsOf, planPart } from "./plan-part.ts";

function file(digest: number, size: number, path = `a/${digest}`): FileEntry {
  const sha256 = digest.toString(16).padStart(64, "0");
  return { kind: "file", path, mode: 0, mtimeMs: 0, size, sha256 };
}

describe("the part of a drill", () => {
  it("has each content once, whatever its names", () => {
    const entries = [
      file(2, 1),
      file(1, 1),
      file(2, 1, "b"),
      { kind: "directory", path: "a", mode: 0 },
    ];
    expect(contentsOf(entries as FileEntry[]).map(({ path }) => path)).toEqual(["a/1", "a/2"]);
  });

  it("is everything where that fits", () => {
    const contents = [file(1, 5), file(2, 5)];
    expect(planPart(contents, 10, null)).toMatchObject({
      chosen: contents,
      n: 1,
      t: 1,
      upTo: null,
    });
    expect(planPart([], 10, null)).toMatchObject({ chosen: [], n: 1, t: 1, upTo: null });
  });

  it("goes on behind the last one, and begins anew at the end", () => {
    const contents = [file(1, 5), file(2, 5), file(3, 20), file(4, 5)];
    const digests = contents.map(({ sha256 }) => sha256);
    const first = planPart(contents, 10, null);
    expect(first).toMatchObject({ bytes: 10, n: 1, t: 3, upTo: digests[1] });
    // Larger than the budget: it goes alone.
    const second = planPart(contents, 10, first.upTo);
    expect(second).toMatchObject({ bytes: 20, n: 2, t: 3, upTo: digests[2] });
    const third = planPart(contents, 10, second.upTo);
    expect(third).toMatchObject({ bytes: 5, n: 3, t: 3, upTo: null });
    expect(planPart(contents, 10, digests[3] ?? null)).toEqual(first);
  });

  it.each(Array.from({ length: 200 }, (_, seed) => seed))(
    "covers all that stay in one round, within the budget, whatever comes and goes meanwhile (seed %d)",
    (seed) => {
      const random = createPrng(seed);
      const some = (): FileEntry[] =>
        Array.from({ length: random.integer(0, 60) }, () =>
          file(random.integer(0, 999), random.integer(0, 30)),
        );
      const staying = contentsOf(some());
      const seen = new Set<string>();
      let after: string | null = null;
      let runs = 0;
      do {
        const part = planPart(contentsOf([...staying, ...some()]), 30, after);
        expect(part.bytes <= 30 || part.chosen.length === 1).toBe(true);
        expect(part.n).toBeLessThanOrEqual(part.t);
        for (const { sha256 } of part.chosen) seen.add(sha256);
        after = part.upTo;
        runs += 1;
      } while (after !== null && runs < 2_000);
      expect(after).toBeNull();
      for (const { sha256 } of staying) expect(seen.has(sha256)).toBe(true);
    },
  );
});
