import { readFileSync } from "node:fs";
import { login, registerAndLogin, type VaultClient } from "@vaultwarden-stream/testkit";
import Database from "better-sqlite3";
import { expect, it } from "vitest";
import { VaultPlace } from "./vault-place.ts";

// Goal: each call makes the commits, and about the frames, that were measured on the real server. Method: the WAL is read before and after.

/** Frames and commits in the WAL, of whose first salt it is: it is held by an open reader, and nobody checkpoints. */
function readWal(place: VaultPlace): { frames: number; commits: number } {
  const wal = readFileSync(place.path("db.sqlite3-wal"));
  const count = { frames: 0, commits: 0 };
  for (let offset = 32; offset + 4120 <= wal.length; offset += 4120) {
    if (wal.compare(wal, 16, 24, offset + 8, offset + 16) !== 0) break;
    count.frames += 1;
    // The field "pages after commit" is not 0.
    if (wal.readUInt32BE(offset + 4) !== 0) count.commits += 1;
  }
  return count;
}

it("takes the commits and about the frames of the real server for each call", async () => {
  await using place = new VaultPlace();
  const standIn = await place.start({
    DATABASE_CONN_INIT:
      "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;",
  });
  const anchor = new Database(place.path("db.sqlite3"));
  try {
    anchor.exec("BEGIN");
    anchor.prepare("SELECT count(*) FROM users").get();
    const measured: Record<string, readonly [commits: number, frames: number]> = {};
    async function measure(name: string, call: () => Promise<unknown>, times = 10): Promise<void> {
      const before = readWal(place);
      for (let time = 0; time < times; time += 1) await call();
      const after = readWal(place);
      measured[name] = [
        (after.commits - before.commits) / times,
        (after.frames - before.frames) / times,
      ];
    }

    let client: VaultClient | undefined;
    await measure(
      "register and log in",
      async () => {
        client = await registerAndLogin(place.account(standIn));
      },
      1,
    );
    if (client === undefined) throw new Error("not logged in");
    const vault = client;
    const post = async (path: string, body: URLSearchParams | string): Promise<void> => {
      const response = await fetch(standIn.url + path, {
        method: "POST",
        headers: {
          authorization: `Bearer ${vault.tokens.accessToken}`,
          ...(typeof body === "string" ? { "content-type": "application/json" } : {}),
        },
        body,
      });
      expect(response.status).toBe(200);
    };
    const item = { name: "an item", notes: "n".repeat(300) };
    const ids: string[] = [];
    const sends: string[] = [];
    const nextId = (list: string[]): string => list.shift() ?? "";
    await measure("create", async () => ids.push(await vault.createItem(item)), 40);
    await measure("change", () => vault.updateItem(ids[7] ?? "", { ...item, name: "changed" }));
    await measure("delete", () => vault.deleteItem(nextId(ids)));
    await measure("attachment", () => vault.uploadAttachment(ids[0] ?? "", "f", Buffer.of(1)));
    await measure("text Send", async () => sends.push(await vault.createSend("s", "t")));
    await measure("delete a text Send", () => vault.deleteSend(nextId(sends)));
    await measure("file Send", async () =>
      sends.push(await vault.createFileSend("s", "f", Buffer.of(1))),
    );
    await measure("access to a file Send", () => vault.downloadSend(sends[0] ?? ""));
    await measure("delete a file Send", () => vault.deleteSend(nextId(sends)));
    await measure("refresh", () => vault.refresh());
    await measure("sync", () => vault.listItems());
    await measure("alive", () => fetch(`${standIn.url}/alive`));
    const cipher = { type: 1, name: "x".repeat(100), notes: "y".repeat(600), login: {} };
    const imported = JSON.stringify({ ciphers: Array.from({ length: 200 }, () => cipher) });
    await measure("import of 200", () => post("/api/ciphers/import", imported), 1);
    // Last: it gives the device another refresh token.
    const [device] = place.query<{ uuid: string }>("SELECT uuid FROM devices");
    await measure("login on a known device", () => login(place.account(standIn), device?.uuid));

    const expected: typeof measured = {
      "register and log in": [2, 5],
      create: [4, 5.5],
      change: [4, 7.2],
      delete: [3, 4.5],
      attachment: [2, 3.2],
      "text Send": [3, 4.3],
      // Not measured on the real server: read in its source.
      "delete a text Send": [3, 5],
      "file Send": [3, 4.3],
      "access to a file Send": [3, 3],
      "delete a file Send": [3, 5],
      "login on a known device": [1, 2],
      refresh: [2, 4],
      sync: [0, 0],
      alive: [0, 0],
      "import of 200": [601, 905],
    };
    for (const [name, [commits, frames]] of Object.entries(expected)) {
      const [ourCommits, ourFrames] = measured[name] ?? [];
      expect(ourCommits, `commits: ${name}`).toBe(commits);
      // How full the pages are that a row falls into is chance.
      expect(Math.abs((ourFrames ?? 0) - frames), `${name}: ${ourFrames} frames`).toBeLessThan(
        0.5 + frames * 0.25,
      );
    }
  } finally {
    anchor.close();
  }
});

it("writes no frame while it is idle, also not by its jobs", async () => {
  await using place = new VaultPlace();
  const standIn = await place.start({ JOB_POLL_INTERVAL_MS: "1" });
  const before = readWal(place);
  const answer = await fetch(`${standIn.url}/stand-in/purge-sends`, { method: "POST" });
  expect(await answer.json()).toEqual({ purged: 0 });
  expect(readWal(place)).toEqual(before);
});
