import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RestoreFile } from "./restore-file.ts";

describe("RestoreFile", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "restore-file-"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  async function replace(path: string): Promise<void> {
    const file = await RestoreFile.create(path, true);
    await file.handle.writeFile("restored");
    await file.sync();
    await file.publish();
    expect(readFileSync(path, "utf8")).toBe("restored");
  }

  it("keeps the mode of the file that it replaces", async () => {
    const path = join(directory, "app.db");
    writeFileSync(path, "before");
    chmodSync(path, 0o640);
    await replace(path);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  it("makes a new file private", async () => {
    const path = join(directory, "new.db");
    await replace(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
