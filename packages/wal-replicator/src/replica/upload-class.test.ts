import { expect, it } from "vitest";
import { uploadClass } from "./upload-class.ts";

const timeline = "00000003-aaaaaaaa";
const file = "0000000000000001-0000000000000001.ltx";

it.each([
  ["epochs/00000003.json", "", "free"],
  ["epochs/00000003.lease.json", "db/", "free"],
  ["probe/x", "db/", "free"],
  [`${timeline}/ltx/0/${file}`, "", "stream"],
  [`db/${timeline}/0000/${file}`, "db/", "stream"],
  [`db/${timeline}/0001/${file}`, "db/", "background"],
  [`db/${timeline}/ltx/9/${file}`, "db/", "background"],
  [`${timeline}/ltx/0/${file}`, "db/", "background"],
  [`db/other/0000/${file}`, "db/", "background"],
  ["files/blobs/aa/aaaa", "db/", "background"],
  ["files/current.json", "db/", "background"],
  ["proofs/x.json", "", "background"],
])("%s below %j is %s", (key, timelinesUnder, expected) => {
  expect(uploadClass(key, timelinesUnder)).toBe(expected);
});
