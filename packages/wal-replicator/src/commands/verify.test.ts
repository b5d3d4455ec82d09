import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ChildExit, startTypeScriptChild } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";

/** The executable, on a replica that stock Litestream wrote. */
const main = fileURLToPath(new URL("../main.ts", import.meta.url));
const stock = fileURLToPath(
  new URL("../../../../test/fixtures/litestream/file-4096/objects", import.meta.url),
);
let directory: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "verify-cli-"));
  await cp(stock, directory, { recursive: true });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function run(...words: readonly string[]): Promise<ChildExit> {
  return startTypeScriptChild(main, { arguments: words }).exited;
}

it("ends with 0 and what was proved if all is well", async () => {
  const { code, stdout, stderr } = await run("verify", directory);
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/: sound\n/);
  expect(stdout).toMatch(/trial restore: TXID [0-9a-f]{16} of .*integrity_check is right/);
});

it("ends with 4 and names the file if a byte is not what was written", async () => {
  const level = join(directory, "ltx", "9");
  const [name = ""] = readdirSync(level);
  const bytes = readFileSync(join(level, name));
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  writeFileSync(join(level, name), bytes);
  const { code, stdout } = await run("verify", directory, "--json");
  expect(code).toBe(4);
  expect(JSON.parse(stdout)).toMatchObject({
    isSound: false,
    problems: [{ kind: "damaged", key: `ltx/9/${name}`, level: 9 }],
  });
  expect((await run("verify", directory, "--quick")).code).toBe(0);
});

it("ends with 3 where nothing is, and answers a typo with the nearest name", async () => {
  expect((await run("verify", join(directory, "ltx", "9"))).code).toBe(3);
  const typo = await run("verfy", directory);
  expect(typo.code).toBe(2);
  expect(typo.stderr).toContain("did you mean verify?");
});
