import { randomInt } from "node:crypto";

/** Seeded randomness: the same seed gives the same values on every machine, so that a failure can be replayed. */
export interface Prng {
  /** A whole number from `min` to `max`, both included; the range may not be wider than 2^32. */
  integer(min: number, max: number): number;
  /** From 0 (included) to 1 (excluded), with 32 bits of randomness. */
  float(): number;
  /** True with the given probability, 0 … 1. */
  chance(probability: number): boolean;
  /** @throws {RangeError} if there is nothing to pick from. */
  pick<T>(items: readonly T[]): T;
  /** A name of the table, drawn in proportion to its weight. @throws {RangeError} if no weight is positive. */
  pickWeighted<Name extends string>(weights: Readonly<Partial<Record<Name, number>>>): Name;
  /** A new array in random order; the given one is left as it is. */
  shuffle<T>(items: readonly T[]): T[];
  /** Random bytes in a new buffer that belongs to the caller. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
}

/**
 * xoshiro128**, its state filled by splitmix32 (Blackman and Vigna, prng.di.unimi.it). Not for secrets.
 *
 * @param seed - 0 … 2^32 − 1.
 */
export function createPrng(seed: number): Prng {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
    throw new RangeError(`a seed is a whole number from 0 to 2^32 - 1, not ${seed}`);
  }
  const state = fillState(seed);

  function next(): number {
    const [a, b, c, d] = state as unknown as [number, number, number, number];
    const scrambled = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const mixedC = c ^ a;
    const mixedD = d ^ b;
    state[1] = b ^ mixedC;
    state[0] = a ^ mixedD;
    state[2] = mixedC ^ (b << 9);
    state[3] = rotateLeft(mixedD, 11);
    return scrambled;
  }

  const prng: Prng = {
    integer(min, max) {
      const size = max - min + 1;
      if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || size < 1 || size > 2 ** 32) {
        throw new RangeError(`not a range of whole numbers: ${min} to ${max}`);
      }
      return min + Math.floor((next() / 2 ** 32) * size);
    },
    float: () => next() / 2 ** 32,
    chance: (probability) => next() / 2 ** 32 < probability,
    pick(items) {
      if (items.length === 0) throw new RangeError("nothing to pick from");
      return items[prng.integer(0, items.length - 1)] as (typeof items)[number];
    },
    pickWeighted(weights) {
      const entries = Object.entries<number>(weights as Record<string, number>).filter(
        ([, weight]) => weight > 0,
      );
      const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
      let rest = prng.float() * total;
      for (const [name, weight] of entries) {
        rest -= weight;
        if (rest < 0) return name as never;
      }
      // Reached by rounding only: the sum of what was subtracted can fall short of the total by an ulp.
      const last = entries.at(-1);
      if (last === undefined) throw new RangeError("no positive weight to pick by");
      return last[0] as never;
    },
    shuffle(items) {
      const shuffled = [...items];
      for (let index = shuffled.length - 1; index > 0; index -= 1) {
        const other = prng.integer(0, index);
        const item = shuffled[index] as (typeof items)[number];
        shuffled[index] = shuffled[other] as (typeof items)[number];
        shuffled[other] = item;
      }
      return shuffled;
    },
    bytes(length) {
      const bytes = new Uint8Array(length);
      const view = new DataView(bytes.buffer);
      const wholeWords = length - (length % 4);
      for (let offset = 0; offset < wholeWords; offset += 4) view.setUint32(offset, next(), true);
      for (let offset = wholeWords; offset < length; offset += 1) bytes[offset] = next() >>> 24;
      return bytes;
    },
  };
  return prng;
}

/**
 * The seed of this run: `SEED` if it is set, else a new one. It is printed, so that whoever sees a failure can replay it.
 *
 * @throws {RangeError} if `SEED` is set and no whole number from 0 to 2^32 − 1.
 */
export function seedFromEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  print: (line: string) => void = (line) => void process.stderr.write(`${line}\n`),
): number {
  const given = environment["SEED"];
  const seed = given === undefined || given === "" ? randomInt(2 ** 32) : Number(given);
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
    throw new RangeError(
      `SEED must be a whole number from 0 to 2^32 - 1, not ${JSON.stringify(given)}`,
    );
  }
  print(`SEED=${seed}`);
  return seed;
}

function fillState(seed: number): Uint32Array {
  const state = new Uint32Array(4);
  let counter = seed >>> 0;
  for (let index = 0; index < 4; index += 1) {
    counter = (counter + 0x9e37_79b9) >>> 0;
    let word = counter;
    word = Math.imul(word ^ (word >>> 16), 0x21f0_aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a_2d97);
    state[index] = (word ^ (word >>> 15)) >>> 0;
  }
  return state;
}

function rotateLeft(word: number, bits: number): number {
  return ((word << bits) | (word >>> (32 - bits))) >>> 0;
}
