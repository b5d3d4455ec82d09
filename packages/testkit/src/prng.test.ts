import { describe, expect, test } from "vitest";
import { createPrng, seedFromEnvironment } from "./prng.ts";

describe("createPrng", () => {
  test("gives the same values for the same seed and others for another", () => {
    const draw = (seed: number) =>
      Array.from({ length: 20 }, () => createPrng(seed).integer(0, 1e9));
    expect(draw(1)).toEqual(draw(1));
    expect(createPrng(1).bytes(64)).toEqual(createPrng(1).bytes(64));
    expect(createPrng(1).bytes(64)).not.toEqual(createPrng(2).bytes(64));
  });

  test("draws whole numbers over the full range, ends included", () => {
    const prng = createPrng(3);
    const drawn = new Set(Array.from({ length: 1000 }, () => prng.integer(-2, 2)));
    expect([...drawn].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2]);
    expect(prng.integer(5, 5)).toBe(5);
    const wide = Array.from({ length: 1000 }, () => prng.integer(0, 2 ** 32 - 1));
    expect(Math.max(...wide)).toBeGreaterThan(2 ** 31);
  });

  test("refuses ranges, seeds and picks that make no sense", () => {
    const prng = createPrng(3);
    expect(() => prng.integer(2, 1)).toThrow(RangeError);
    expect(() => prng.integer(0, 2 ** 33)).toThrow(RangeError);
    expect(() => prng.pick([])).toThrow(RangeError);
    expect(() => prng.pickWeighted({})).toThrow(RangeError);
    expect(() => createPrng(-1)).toThrow(RangeError);
    expect(() => createPrng(2 ** 32)).toThrow(RangeError);
  });

  test("is about fair: chances, weights and shuffles", () => {
    const prng = createPrng(4);
    let hits = 0;
    const counts = { often: 0, never: 0, seldom: 0 };
    const firsts = [0, 0, 0];
    for (let draw = 0; draw < 9000; draw += 1) {
      if (prng.chance(0.25)) hits += 1;
      counts[prng.pickWeighted({ often: 9, never: 0, seldom: 1 })] += 1;
      const first = prng.shuffle([0, 1, 2])[0] as 0;
      firsts[first] = (firsts[first] as number) + 1;
    }
    expect(hits / 9000).toBeCloseTo(0.25, 1);
    expect(counts.never).toBe(0);
    expect(counts.seldom / 9000).toBeCloseTo(0.1, 1);
    for (const count of firsts) expect(count / 9000).toBeCloseTo(1 / 3, 1);
  });

  test("fills bytes of any length, every value about as often", () => {
    const prng = createPrng(5);
    for (const length of [0, 1, 3, 4, 5]) expect(prng.bytes(length)).toHaveLength(length);
    const counts = new Uint32Array(256);
    for (const byte of prng.bytes(256_000)) counts[byte] = (counts[byte] as number) + 1;
    expect(Math.min(...counts)).toBeGreaterThan(800);
    expect(Math.max(...counts)).toBeLessThan(1200);
  });
});

describe("seedFromEnvironment", () => {
  test("takes SEED, and prints it", () => {
    const lines: string[] = [];
    expect(seedFromEnvironment({ SEED: "123" }, (line) => lines.push(line))).toBe(123);
    expect(lines).toEqual(["SEED=123"]);
  });

  test("draws one without SEED, and prints that", () => {
    const lines: string[] = [];
    const seed = seedFromEnvironment({}, (line) => lines.push(line));
    expect(lines).toEqual([`SEED=${seed}`]);
    expect(seedFromEnvironment({}, () => {})).not.toBe(seed);
  });

  test.each(["x", "-1", "1.5", "4294967296"])("refuses SEED=%s", (given) => {
    expect(() => seedFromEnvironment({ SEED: given }, () => {})).toThrow(/SEED must be/);
  });
});
