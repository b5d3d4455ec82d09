import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Spool } from "./spool.ts";
import { noteNonces, readNonces } from "./spool-nonces.ts";

let directory: string;
let open: Spool[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "nonces-"));
  open = [];
});
afterEach(() => {
  for (const spool of open) spool.close();
  rmSync(directory, { recursive: true, force: true });
});

async function openSpool(name: string): Promise<Spool> {
  const spool = await Spool.open(join(directory, name));
  open.push(spool);
  return spool;
}

const nonce = (index: number): string => index.toString(16).padStart(32, "0");
const path = (name: string): string => join(directory, name, "nonces.json");

it("what was noted is known, after another opening too; a new spool knows nothing", async () => {
  const spool = await openSpool("a");
  expect(await readNonces(spool)).toEqual([]);
  await noteNonces(spool, [nonce(1)]);
  await noteNonces(spool, [nonce(2), nonce(3)]);
  spool.close();
  expect(await readNonces(await openSpool("a"))).toEqual([nonce(1), nonce(2), nonce(3)]);
});

it("the newest sixteen are kept", async () => {
  const spool = await openSpool("a");
  for (let index = 0; index < 20; index += 1) await noteNonces(spool, [nonce(index)]);
  expect(await readNonces(spool)).toEqual(
    Array.from({ length: 16 }, (_, index) => nonce(index + 4)),
  );
});

it("a copy of the spool does not take the original's epochs for its own", async () => {
  const original = await openSpool("a");
  await noteNonces(original, [nonce(1)]);
  cpSync(join(directory, "a"), join(directory, "b"), { recursive: true });
  const copy = await openSpool("b");
  expect(await readNonces(copy)).toEqual([]);
  await noteNonces(copy, [nonce(2)]);
  expect(await readNonces(copy)).toEqual([nonce(2)]);
  expect(await readNonces(original)).toEqual([nonce(1)]);
});

it.each([
  "",
  "torn {",
  "null",
  "[]",
  '{"nonces":["00000000000000000000000000000001"]}',
  '{"installation":null,"nonces":[]}',
])("a file that says %j knows none, and is replaced by the next note", async (text) => {
  const spool = await openSpool("a");
  writeFileSync(path("a"), text);
  expect(await readNonces(spool)).toEqual([]);
  await noteNonces(spool, [nonce(1)]);
  expect(await readNonces(spool)).toEqual([nonce(1)]);
});

it.each([
  ["another machine", { hostId: "another" }],
  ["another directory", { spoolInode: "1" }],
  ["another time of birth", { spoolBornAt: "1" }],
])("notes of %s are not ours", async (_, changed) => {
  const spool = await openSpool("a");
  await noteNonces(spool, [nonce(1)]);
  const content = JSON.parse(readFileSync(path("a"), "utf8")) as { installation: object };
  writeFileSync(
    path("a"),
    JSON.stringify({ ...content, installation: { ...content.installation, ...changed } }),
  );
  expect(await readNonces(spool)).toEqual([]);
});

it("what is no nonce is passed over", async () => {
  const spool = await openSpool("a");
  await noteNonces(spool, ["../../x", nonce(1), "A".repeat(32)]);
  expect(await readNonces(spool)).toEqual([nonce(1)]);
});
