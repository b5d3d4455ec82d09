import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareManifests, manifestKey, parseManifestKey } from "./manifest-key.ts";

const ref = {
  timeline: "00000001-0badcafe",
  epoch: 7,
  sequence: 12,
  txid: "00000000000004d2",
  time: new Date("2026-11-27T16:09:05.123Z"),
};
const key =
  "files/manifests/00000001-0badcafe/00000007-00000012-00000000000004d2-20261127T160905123Z.json";

const anyRef = fc.record({
  timeline: fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,30}$/),
  epoch: fc.integer({ min: 1, max: 99_999_999 }),
  sequence: fc.integer({ min: 1, max: 99_999_999 }),
  txid: fc.stringMatching(/^[0-9a-f]{16}$/),
  time: fc.date({
    min: new Date(0),
    max: new Date("9999-12-31T23:59:59.999Z"),
    noInvalidDate: true,
  }),
});

describe("the key of a manifest", () => {
  test("has a fixed form, since it is on disk for years", () => {
    expect(manifestKey(ref)).toBe(key);
    expect(parseManifestKey(key)).toEqual(ref);
  });

  test("says all that was put into it", () => {
    const property = fc.property(anyRef, (any) => {
      expect(parseManifestKey(manifestKey(any))).toEqual(any);
    });
    fc.assert(property);
  });

  test.each([
    ["of another prefix", key.replace("manifests", "blobs")],
    ["of a deeper level", key.replace("0badcafe/", "0badcafe/x/")],
    ["whose timeline leads upwards", key.replace("00000001-0badcafe", "..")],
    ["with an epoch of 0", key.replace("00000007", "00000000")],
    ["with a sequence of 0", key.replace("00000012", "00000000")],
    ["with upper case digits", key.replace("4d2", "4D2")],
    ["with the 31st of February", key.replace("20261127", "20260231")],
    ["with the 25th hour", key.replace("T16", "T25")],
    ["with something behind it", `${key}.tmp`],
    ["with a line before it", `\n${key}`],
  ])("%s is none", (_, other) => {
    expect(parseManifestKey(other)).toBeUndefined();
  });
});

test("manifests are in the order of epoch and sequence, whatever their clocks said", () => {
  const earlier = new Date(0);
  const later = { ...ref, sequence: 13, time: earlier };
  const nextEpoch = { ...ref, epoch: 8, sequence: 1, time: earlier };
  expect([nextEpoch, later, ref].toSorted(compareManifests)).toEqual([ref, later, nextEpoch]);
});
