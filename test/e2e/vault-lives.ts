import { rmSync } from "node:fs";
import {
  checkVault,
  createPrng,
  readVaultRecords,
  seedFromEnvironment,
  startVaultWorkload,
  type VaultCheck,
} from "@vaultwarden-stream/testkit";
import { expect } from "vitest";
import { account, killIfRunning, Site } from "./daemon-harness.ts";

/** What must be there though everything was killed: each life checks what the one before it left in the store. */
export interface Lives {
  readonly seed: number;
  readonly count: number;
}

/** Files of some size, so that kills come into the middle of them. */
const fileBytesMax = 200_000;
const operationsMax = 60;
/** By default a second of batching, and what a loaded machine adds to it. */
const rpoMs = 15_000;

/**
 * A client's life with a vault whose machine dies again and again: each time everything is killed at a random moment, the disk is lost, and the
 * next machine begins with what is stored. The last one is ended properly.
 */
export async function liveAndDie({ seed, count }: Lives): Promise<void> {
  const prng = createPrng(seed);
  await using site = new Site();
  const recordsPath = site.path("records.jsonl");
  let checked = { rows: 0, files: 0 };
  let settled: { readonly rowsMs: number; readonly filesMs: number } | undefined;
  for (let life = 0; life <= count; life += 1) {
    const volume = `life-${life}`;
    const daemon = await site.run(volume, {}, ...(life === 0 ? [] : ["--take-over"]));
    await daemon.ready();
    if (settled !== undefined) {
      const check = await checkVault(
        { dataFolder: site.path(volume) },
        readVaultRecords(recordsPath),
        { olderThan: settled.rowsMs, filesOlderThan: settled.filesMs },
      );
      expectOnlyNamed(check, daemon.stderr, `seed ${seed}, life ${life}`);
      checked = { rows: checked.rows + check.rows, files: checked.files + check.files };
    }
    const workload = await startVaultWorkload({
      account: { url: daemon.url, ...account },
      recordsPath,
      seed: (seed + life) % 2 ** 32,
      fileBytesMax,
    });
    await workload.untilAcknowledged(prng.integer(1, operationsMax));
    if (life < count) {
      const diedAtMs = Date.now();
      killIfRunning(site.status(volume)?.server?.pid ?? -1);
      await daemon.end("SIGKILL");
      const { refusals } = await workload.ended;
      expect(refusals).toEqual([]);
      const status = site.status(volume);
      settled = {
        // What the daemon said is stored, and at any rate what is older than the RPO.
        rowsMs: Math.max(Date.parse(status?.storedAsOf ?? "") || 0, diedAtMs - rpoMs),
        filesMs: Date.parse(status?.files?.storedAsOf ?? "") || 0,
      };
      rmSync(site.path(volume), { recursive: true });
      continue;
    }
    await workload.stop();
    const { code, stderr } = await daemon.end();
    expect(code, stderr).toBe(0);
    const restored = await site.command("after", "restore");
    expect(restored.code, restored.stderr).toBe(0);
    const check = await checkVault(
      { dataFolder: site.path("after") },
      readVaultRecords(recordsPath),
      { olderThan: Date.now() },
    );
    expect(check.problems, `seed ${seed}, at the end`).toEqual([]);
    expect(check.rows).toBeGreaterThan(0);
  }
  expect(checked.rows).toBeGreaterThan(0);
  // In a few short lives there may not be a file that had its time.
  if (count >= 10) expect(checked.files).toBeGreaterThan(0);
}

/** A row whose file is not there was named by the restore; nothing else is allowed. */
function expectOnlyNamed({ problems }: VaultCheck, log: string, when: string): void {
  const silent = problems.filter(
    ({ code, record }) => code !== "file-missing" || !log.includes(record.id),
  );
  expect(silent, `${when}\n${log}`).toEqual([]);
}

/** One life after the other takes its time: how many fit everybody's patience. */
export function livesFromEnvironment(countUsual: number): Lives {
  return { seed: seedFromEnvironment(), count: Number(process.env["VAULT_LIVES"] ?? countUsual) };
}
