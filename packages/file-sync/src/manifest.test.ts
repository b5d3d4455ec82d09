import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeManifest, encodeManifest, type Manifest, type ManifestEntry } from "./manifest.ts";
import { manifestKey } from "./manifest-key.ts";
import { anyTree, entriesOf } from "./test-tree.ts";

const ref = {
  timeline: "00000001-0badcafe",
  epoch: 7,
  sequence: 12,
  txid: "00000000000004d2",
  time: new Date("2026-11-27T16:09:05.123Z"),
};
const key = manifestKey(ref);
const sha256 = "ab".repeat(32);
const file = { kind: "file", path: "a/b", mode: 0o644, mtimeMs: -1, size: 3, sha256 } as const;
const manifest: Manifest = {
  ...ref,
  entries: [{ kind: "directory", path: "a", mode: 0o755 }, file],
};

function withEntries(entries: readonly unknown[]): Manifest {
  return { ...ref, entries: entries as ManifestEntry[] };
}

function decodeText(text: string): Manifest {
  return decodeManifest(key, new TextEncoder().encode(text));
}

const text = new TextDecoder().decode(encodeManifest(manifest));
const seal = text.slice(-67, -3);

describe("a manifest", () => {
  test("has a fixed form, since it is on disk for years", () => {
    expect(text).toBe(
      [
        '{"version":1,"timeline":"00000001-0badcafe","epoch":7,"sequence":12,"txid":"00000000000004d2","time":"2026-11-27T16:09:05.123Z","entries":[',
        '{"kind":"directory","path":"a","mode":493},',
        `{"kind":"file","path":"a/b","mode":420,"mtimeMs":-1,"size":3,"sha256":"${sha256}"}`,
        "],",
        `"sha256":"${seal}"}\n`,
      ].join("\n"),
    );
  });

  test("of the time before manifests had a checksum is read too", () => {
    expect(decodeText(text.replace(`,\n"sha256":"${seal}"`, ""))).toEqual(manifest);
  });

  test("is read as it was written, whatever the names are", () => {
    fc.assert(
      fc.property(anyTree("files"), (tree) => {
        const any = withEntries(entriesOf(tree));
        expect(decodeManifest(key, encodeManifest(any))).toEqual(any);
      }),
    );
  });

  test("names the one before it, if there was one", () => {
    const first = manifestKey({ ...ref, sequence: 1 });
    const next: Manifest = { ...manifest, previous: first };
    expect(decodeManifest(key, encodeManifest(next))).toEqual(next);
    const invalid = expect.objectContaining({ code: "MANIFEST_INVALID" });
    const odd = encodeManifest({ ...manifest, previous: "files/current.json" });
    expect(() => decodeManifest(key, odd)).toThrow(invalid);
  });

  test("may be empty", () => {
    expect(decodeManifest(key, encodeManifest(withEntries([])))).toEqual(withEntries([]));
  });

  const badEntries: [string, readonly unknown[]][] = [
    ["a path that leads up", [{ ...file, path: "a/../b" }]],
    ["an absolute path", [{ ...file, path: "/a" }]],
    ["an empty name", [{ ...file, path: "a//b" }]],
    ["an empty path", [{ ...file, path: "" }]],
    ["a zero byte", [{ ...file, path: "a\0" }]],
    ["a path too long", [{ ...file, path: "a".repeat(4_097) }]],
    ["a mode beyond its bits", [{ ...file, mode: 0o10000 }]],
    ["a negative size", [{ ...file, size: -1 }]],
    ["half a byte", [{ ...file, size: 0.5 }]],
    ["a size that is no safe integer", [{ ...file, size: 2 ** 53 }]],
    ["a time that is no number", [{ ...file, mtimeMs: "1" }]],
    ["a digest that is none", [{ ...file, sha256: "AB".repeat(32) }]],
    ["another kind", [{ ...file, kind: "link" }]],
    ["one path twice", [file, file]],
    ["another order", [file, { kind: "directory", path: "a", mode: 0 }]],
    ["no object", [null]],
  ];
  test.each(badEntries)("with %s is neither read nor written", (_, entries) => {
    const head = text.slice(0, text.indexOf("[") + 1);
    const invalid = expect.objectContaining({ code: "MANIFEST_INVALID" });
    expect(() => decodeText(`${head}${JSON.stringify(entries).slice(1)}}`)).toThrow(invalid);
    expect(() => encodeManifest(withEntries(entries))).toThrow(invalid);
  });

  test.each([
    ["of another version", text.replace('"version":1', '"version":2'), "of version 2"],
    ["of another timeline", text.replace("0badcafe", "feedface"), "another manifest"],
    ["of another epoch", text.replace('"epoch":7', '"epoch":8'), "another manifest"],
    ["of another number", text.replace('"sequence":12', '"sequence":1'), "another manifest"],
    ["of another txid", text.replace("4d2", "4d3"), "another manifest"],
    ["of another time", text.replace("05.123Z", "05.124Z"), "another manifest"],
    ["without a list", text.replace('"entries"', '"others"'), "no list"],
    ["that is a list", "[]", "not a JSON object"],
    ["that is empty", "", "not JSON"],
  ])("%s is refused, with its key and the reason", (_, other, reason) => {
    expect(other).not.toBe(text);
    expect(() => decodeText(other)).toThrow(reason);
    expect(() => decodeText(other)).toThrow(key);
  });

  test("under no key of a manifest is refused", () => {
    expect(() => decodeManifest("files/current.json", encodeManifest(manifest))).toThrow("key");
    expect(() => encodeManifest({ ...manifest, epoch: 0 })).toThrow("key");
    expect(() => encodeManifest({ ...manifest, time: new Date("+010000-01-01") })).toThrow("key");
  });

  test("cut anywhere, or with any byte changed, is refused", () => {
    const bytes = encodeManifest(manifest);
    const decode = (damaged: Uint8Array): void => {
      const invalid = expect.objectContaining({ code: "MANIFEST_INVALID" });
      expect(() => decodeManifest(key, damaged)).toThrow(invalid);
    };
    for (let at = 0; at < bytes.length; at += 1) {
      decode(bytes.subarray(0, at));
      for (const bit of [1, 32, 128]) {
        const flipped = bytes.slice();
        flipped[at] = (flipped[at] ?? 0) ^ bit;
        decode(flipped);
      }
    }
  });
});
