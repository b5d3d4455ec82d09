import { sep } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { safePath } from "./safe-path.ts";

describe("the path of an entry", () => {
  it("is the root itself, or below it", () => {
    expect(safePath("/base/tree", "r")).toBe("/base/tree");
    expect(safePath("/base/tree", "r/a/..b/...")).toBe("/base/tree/a/..b/...");
  });

  it.each(["r/..", "r/../x", "../r", "r/./x", "/r", "r/", "r//x", "", "r/a\0b", "r/\ud800"])(
    "is refused: %j",
    (path) => {
      expect(() => safePath("/base/tree", path)).toThrow(
        expect.objectContaining({
          code: "PATH_UNSAFE",
          message: expect.stringContaining("refused"),
        }),
      );
    },
  );

  it("never leads out of its root, and is another for each entry", () => {
    const part = fc.oneof(fc.constantFrom("..", ".", "", "a", "b\\..\\c"), fc.string());
    const path = fc.array(part, { maxLength: 5 }).map((parts) => ["r", ...parts].join("/"));
    const located = new Map<string, string>();
    fc.assert(
      fc.property(path, (entry) => {
        let location: string;
        try {
          location = safePath("/base/tree", entry);
        } catch {
          return;
        }
        expect(location === "/base/tree" || location.startsWith(`/base/tree${sep}`)).toBe(true);
        expect(location.split(sep)).not.toContain("..");
        expect(located.get(location) ?? entry).toBe(entry);
        located.set(location, entry);
      }),
      { numRuns: 2000 },
    );
  });
});
