import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import { followAndDie } from "./follow-and-die.ts";

it("a follower of the real engine, killed again and again, shows committed states only and ends byte-equal", {
  timeout: 300_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), "follow-engine-"));
  try {
    const life = { transactions: 400, rounds: 6 };
    const { reader } = await followAndDie(directory, seedFromEnvironment(), life);
    expect(reader.changeCount).toBeGreaterThan(3);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
