import { expect } from "vitest";

const sampleLine =
  /^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/;

/**
 * For tests: a reader of Prometheus' text format (0.0.4) that takes nothing else. A family has one HELP and one TYPE line, its samples follow, none
 * is there twice, and only counters end in `_total`.
 *
 * @returns values by name with labels.
 */
export function parseMetrics(body: string): Map<string, number> {
  const samples = new Map<string, number>();
  const families = new Set<string>();
  let family = "";
  let expected: "help" | "type" | "sample" | "any" = "help";
  const lines = body.split("\n");
  expect(lines.pop(), "the text ends with a line").toBe("");
  for (const line of lines) {
    const help = /^# HELP ([a-z_]+) \S.*$/.exec(line);
    const type = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line);
    if (help !== null) {
      expect(["help", "any"], line).toContain(expected);
      family = help[1] ?? "";
      expect(families.has(family), line).toBe(false);
      families.add(family);
      expected = "type";
    } else if (type !== null) {
      expect(expected, line).toBe("type");
      expect(type[1]).toBe(family);
      expect(family.endsWith("_total"), line).toBe(type[2] === "counter");
      expected = "sample";
    } else {
      expect(["sample", "any"], line).toContain(expected);
      const [, name, labels = "", value] = sampleLine.exec(line) ?? [];
      expect(name, line).toBe(family);
      expect(samples.has(`${name}${labels}`), line).toBe(false);
      samples.set(`${name}${labels}`, Number(value));
      expected = "any";
    }
  }
  expect(expected).toBe("any");
  return samples;
}
