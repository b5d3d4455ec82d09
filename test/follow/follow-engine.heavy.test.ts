import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import { followAndDie } from "./follow-and-die.ts";

it("10,000 transactions with merges, snapshots, retention, a VACUUM and two changes of the writer: byte-equal", async () => {
  const directory = mkdtempSync(join(tmpdir(), "follow-heavy-"));
  try {
    const life = { transactions: 10_000, rounds: 40 };
    const { reader, kills, levels } = await followAndDie(directory, seedFromEnvironment(), life);
    expect(kills).toBeGreaterThan(30);
    expect(reader.lookCount).toBeGreaterThan(1_000);
    expect(reader.changeCount).toBeGreaterThan(60);
    // There was something to go over, and level 0 was pruned.
    expect(levels).toMatchObject({ hasMerged: true, hasSnapshot: true, isPruned: true });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
