import { describe, expect, it } from "vitest";
import { openSealedJson, sealJson, sealProblem } from "./sealed-json.ts";

const fields = ["version", "name", "list"];
const object = { version: 1, name: "é 1", list: [{ sha256: "x" }] };

function judge(bytes: Uint8Array): string | undefined {
  try {
    return sealProblem(openSealedJson(bytes), fields);
  } catch (error) {
    return (error as Error).name;
  }
}

describe.each([
  ["on one line", JSON.stringify(object)],
  ["on many lines", `${JSON.stringify(object, undefined, 1)}\n`],
])("an object %s", (_, text) => {
  const bytes = sealJson(text);

  it("is read as it was, with its seal", () => {
    const { value, seal } = openSealedJson(bytes);
    expect(seal).toBe("intact");
    expect(value).toEqual({ ...object, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(judge(bytes)).toBeUndefined();
  });

  it("is refused with any one byte changed to anything, and cut anywhere", () => {
    for (let at = 0; at < bytes.length; at += 1) {
      expect(judge(bytes.subarray(0, at))).toBeDefined();
      for (let byte = 0; byte < 256; byte += 1) {
        if (byte === bytes[at]) continue;
        const changed = bytes.slice();
        changed[at] = byte;
        expect(judge(changed), `byte ${at} is ${byte}`).toBeDefined();
      }
    }
  });

  it("says what is wrong with it", () => {
    const changed = bytes.slice();
    changed[bytes.length - 10] = 0x30 + (((changed[bytes.length - 10] ?? 0) + 1) % 10);
    expect(judge(changed)).toBe("its bytes are not those that were written");
  });

  it("of the time before seals is read, with the fields of that time alone", () => {
    expect(judge(new TextEncoder().encode(text))).toBeUndefined();
    expect(judge(new TextEncoder().encode(text.replace('"name"', '"mane"')))).toContain('"mane"');
  });
});
