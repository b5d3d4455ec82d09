import { join, sep } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkKey, checkPrefix, isObjectKey } from "./object-key.ts";

/** Mostly what is nearly a key. */
const nearlyKey = fc
  .array(fc.constantFrom("a", "B", "0", ".", "..", "-", "_", "/", " ", "\0", "\\", "ü", "%"), {
    maxLength: 12,
  })
  .map((parts) => parts.join(""));
const anyText = fc.oneof(nearlyKey, fc.string({ unit: "binary" }));
const segment = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}$/);
const key = fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));

describe("keys", () => {
  it("lead to a path of their own below the root, whatever the text is", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        if (!isObjectKey(text)) return;
        const path = join(`${sep}root`, text);
        expect(path).toBe([`${sep}root`, ...text.split("/")].join(sep));
        expect(path.split(sep).some((name) => name.startsWith("."))).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it("are accepted with all their beginnings as prefixes", () => {
    fc.assert(
      fc.property(key, (text) => {
        checkKey("put", text);
        for (let length = 0; length <= text.length; length++) {
          checkPrefix("list", text.slice(0, length));
        }
      }),
    );
  });

  it("exist with every prefix that is accepted", () => {
    fc.assert(
      fc.property(nearlyKey, (prefix) => {
        try {
          checkPrefix("list", prefix);
        } catch {
          return;
        }
        expect([prefix, `${prefix}x`].some(isObjectKey)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
