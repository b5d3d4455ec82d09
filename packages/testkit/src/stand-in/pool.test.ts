import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { migrate } from "./migrations.ts";
import { Pool } from "./pool.ts";
import { purgeSends } from "./routes-sends.ts";
import { readSettings, type Settings } from "./settings.ts";
import { readOrCreateSigningKey } from "./signing-key.ts";
import { replaceRow, type Vault } from "./vault.ts";

let directory: string;
let settings: Settings;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pool-"));
  settings = readSettings({ DATA_FOLDER: directory, DATABASE_IDLE_TIMEOUT: "5" });
  migrate(settings);
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

describe("Pool", () => {
  test("drops all idle connections in one tick, and with the last one the WAL", async () => {
    vi.useFakeTimers();
    const pool = new Pool(settings);
    await pool.write("INSERT INTO invitations VALUES ('a@example.com')");
    expect(existsSync(`${settings.databasePath}-wal`)).toBe(true);
    vi.advanceTimersToNextTimer();
    expect(existsSync(`${settings.databasePath}-wal`)).toBe(false);
    await vi.runOnlyPendingTimersAsync();
    expect(await pool.read("SELECT email FROM invitations")).toEqual([{ email: "a@example.com" }]);
    pool.close();
  });

  test("a connection of somebody else who has read keeps the WAL through that", async () => {
    vi.useFakeTimers();
    const pool = new Pool(settings);
    await pool.write("INSERT INTO invitations VALUES ('a@example.com')");
    const anchor = new Database(settings.databasePath);
    anchor.prepare("SELECT count(*) FROM invitations").get();
    vi.advanceTimersToNextTimer();
    expect(existsSync(`${settings.databasePath}-wal`)).toBe(true);
    anchor.close();
    pool.close();
  });

  test("runs all statements of DATABASE_CONN_INIT on each connection", async () => {
    const pool = new Pool({
      ...settings,
      databaseConnInit: "PRAGMA busy_timeout = 0; PRAGMA wal_autocheckpoint = 7",
    });
    expect(await pool.read("PRAGMA wal_autocheckpoint")).toEqual([{ wal_autocheckpoint: 7 }]);
    pool.close();
  });
});

test("the purge deletes Sends that have passed their date, their directory first, and no others", async () => {
  const pool = new Pool(settings);
  const nowMs = Date.UTC(2026, 10, 24);
  const signingKey = readOrCreateSigningKey(settings.rsaKeyPath);
  const vault: Vault = {
    settings,
    reloadSettings: () => {},
    pool,
    signingKey,
    nowMs: () => nowMs,
  };
  for (const [uuid, day] of [
    ["past", "23"],
    ["future", "25"],
  ] as const) {
    mkdirSync(join(settings.sendsFolder, uuid), { recursive: true });
    writeFileSync(join(settings.sendsFolder, uuid, "file"), "x");
    const date = `2026-11-${day} 00:00:00`;
    await replaceRow(vault, "sends", {
      uuid,
      name: "n",
      atype: 1,
      data: "{}",
      akey: "k",
      access_count: 0,
      creation_date: date,
      revision_date: date,
      deletion_date: date,
      disabled: 0,
    });
  }
  await purgeSends(vault);
  expect(await pool.read("SELECT uuid FROM sends")).toEqual([{ uuid: "future" }]);
  expect(existsSync(join(settings.sendsFolder, "past"))).toBe(false);
  expect(existsSync(join(settings.sendsFolder, "future"))).toBe(true);
  pool.close();
});
