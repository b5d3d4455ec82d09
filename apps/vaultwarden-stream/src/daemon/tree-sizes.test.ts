import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { measureTrees } from "./tree-sizes.ts";

it("measures trees and single files, and what is not there as nothing", async () => {
  const directory = mkdtempSync(join(tmpdir(), "trees-"));
  mkdirSync(join(directory, "attachments", "a"), { recursive: true });
  writeFileSync(join(directory, "attachments", "a", "b"), "12345");
  writeFileSync(join(directory, "attachments", "c"), "123");
  writeFileSync(join(directory, "key.pem"), "12");
  const paths = ["attachments", "key.pem", "none"].map((name) => join(directory, name));
  expect(await measureTrees(paths)).toEqual({ files: 3, bytes: 10 });
  rmSync(directory, { recursive: true, force: true });
});
