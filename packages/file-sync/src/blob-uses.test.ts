import { describe, expect, it } from "vitest";
import { BlobUses } from "./blob-uses.ts";
import type { FileEntry } from "./manifest.ts";
import type { ManifestRef } from "./manifest-key.ts";

const at = (minute: number): Date => new Date(Date.UTC(2026, 10, 27, 12, minute));

function ref(minute: number, timeline = "a"): ManifestRef {
  return { timeline, epoch: 1, sequence: minute, txid: "0000000000000001", time: at(minute) };
}

function file(path: string, letter: string): FileEntry {
  return { kind: "file", path, mode: 0o600, mtimeMs: 0, size: 1, sha256: letter.repeat(64) };
}

describe("the uses of a content", () => {
  const uses = new BlobUses();
  uses.add(ref(1), [file("r/one", "1"), file("r/two", "2")]);
  uses.add(ref(2), [file("r/one", "1"), { kind: "directory", path: "r", mode: 0 }]);
  uses.add(ref(3), [file("r/other", "1"), file("r/twin", "1")]);
  uses.add(ref(4), undefined);
  uses.add(ref(5), [file("r/one", "1"), file("r/two", "2")]);
  uses.add(ref(6, "b"), [file("r/two", "2")]);

  it("are each content once", () => {
    expect([...uses.contents()].map(({ path }) => path)).toEqual(["r/one", "r/two"]);
  });

  it("are all of its names, and from when on until when each timeline needs it", () => {
    expect(uses.of(file("", "1"))).toEqual({
      paths: ["r/one", "r/other", "r/twin"],
      spans: [
        { timeline: "a", from: at(1), to: at(4) },
        { timeline: "a", from: at(5), to: null },
      ],
    });
    expect(uses.of(file("", "2")).spans).toEqual([
      { timeline: "a", from: at(1), to: at(2) },
      { timeline: "a", from: at(5), to: null },
      { timeline: "b", from: at(6), to: null },
    ]);
  });

  it("are none of manifests that are gone", () => {
    const isThere = ({ sequence }: ManifestRef): boolean => sequence >= 3;
    expect(uses.of(file("", "1"), isThere).spans).toMatchObject([{ from: at(3) }, { from: at(5) }]);
    expect(uses.of(file("", "2"), ({ sequence }) => sequence === 2).spans).toEqual([]);
    expect(uses.of(file("", "3"))).toEqual({ paths: [], spans: [] });
  });
});
