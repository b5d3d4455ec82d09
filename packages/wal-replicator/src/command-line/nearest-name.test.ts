import { expect, it } from "vitest";
import { nearestName } from "./nearest-name.ts";

const known = ["replicate", "restore", "list", "verify", "--timeline", "--txid", "endpoint"];

it.each([
  ["restor", "restore"],
  ["replciate", "replicate"],
  ["lst", "list"],
  ["LIST", "list"],
  ["--timelime", "--timeline"],
  ["--tx", "--txid"],
  ["endpiont", "endpoint"],
])("%s is answered with %s", (typed, expected) => {
  expect(nearestName(typed, known)).toBe(expected);
});

it.each(["snapshots", "x", "", "--follow"])("%j is near to nothing", (typed) => {
  expect(nearestName(typed, known)).toBeUndefined();
});
