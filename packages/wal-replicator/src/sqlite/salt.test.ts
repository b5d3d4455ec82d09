import { expect, test } from "vitest";
import { formatSalt, parseSalt, saltsEqual } from "./salt.ts";

test("a salt reads back from its 16 hex digits", () => {
  const salt = { salt1: 0x01020304, salt2: 0xfffffffe };
  expect(formatSalt(salt)).toBe("01020304fffffffe");
  expect(parseSalt("01020304fffffffe")).toEqual(salt);
  expect(formatSalt({ salt1: 0, salt2: 0 })).toBe("0000000000000000");
});

test("any other text is no salt", () => {
  for (const text of [
    "",
    "0102030405060708 ",
    "010203040506070",
    "0102030405060708a",
    "010203040506070G",
    "010203040506070A",
  ]) {
    expect(parseSalt(text)).toBeUndefined();
  }
});

test("salts are equal if both halves are", () => {
  const salt = { salt1: 1, salt2: 2 };
  expect(saltsEqual(salt, { salt1: 1, salt2: 2 })).toBe(true);
  expect(saltsEqual(salt, { salt1: 1, salt2: 3 })).toBe(false);
  expect(saltsEqual(salt, { salt1: 2, salt2: 2 })).toBe(false);
});
