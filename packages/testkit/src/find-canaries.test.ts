import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findCanaries } from "./find-canaries.ts";
import { createPrng } from "./prng.ts";

const canary = { name: "the password", secret: "correct-horse-battery" };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "canaries-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const found = async () => (await findCanaries([directory], [canary])).map(({ where }) => where);

test("says nothing about files without the secret", async () => {
  await writeFile(join(directory, "file"), createPrng(1).bytes(200_000));
  await writeFile(join(directory, "empty"), "");
  expect(await found()).toEqual([]);
});

test.each([0, 65_530, 65_536, 131_071])("finds it at offset %i, across chunks", async (offset) => {
  const bytes = createPrng(1).bytes(300_000);
  bytes.set(Buffer.from(canary.secret), offset);
  await mkdir(join(directory, "deep", "down"), { recursive: true });
  const path = join(directory, "deep", "down", "file.ltx");
  await writeFile(path, bytes);
  expect(await findCanaries([directory], [canary])).toEqual([
    { canary: canary.name, path, where: "bytes", offset },
  ]);
});

test.each(["", "a", "ab", "abc"])("finds it in base64 behind %j", async (before) => {
  const text = Buffer.from(`${before}${canary.secret}:more`).toString("base64");
  await writeFile(join(directory, "file"), `Authorization: Basic ${text}`);
  expect(await found()).toEqual(["bytes"]);
});

test("finds it in a gzip file, in a name, and not behind a link", async () => {
  await writeFile(join(directory, "backup.tar.gz"), gzipSync(`x${canary.secret.repeat(3)}`));
  await mkdir(join(directory, `of ${canary.secret}`));
  await symlink("/nonexistent", join(directory, "link"));
  expect((await found()).sort()).toEqual(["gzip", "name"]);
});

test("is no clean bill for what is missing, damaged, or too short to look for", async () => {
  await expect(findCanaries([join(directory, "none")], [canary])).rejects.toThrow("ENOENT");
  await writeFile(join(directory, "damaged.gz"), gzipSync("x".repeat(1000)).subarray(0, 15));
  await expect(findCanaries([directory], [canary])).rejects.toThrow("unexpected end");
  await expect(findCanaries([], [{ name: "short", secret: "1234567" }])).rejects.toThrow(
    "canary short is shorter than 8 bytes",
  );
});
