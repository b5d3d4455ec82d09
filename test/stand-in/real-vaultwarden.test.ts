import {
  checkVault,
  findPeer,
  readVaultRecords,
  startVaultWorkload,
} from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { createItems, itemIds, itemNames, Site, untilStored } from "../e2e/daemon-harness.ts";

// Goal: what holds for the stand-in holds for the real server. It is named by hand: no machine of ours has it, so it is skipped also with CI=true.

const named = process.env["VAULTWARDEN_BIN"] ?? "";
const search =
  named === ""
    ? ({ found: false, reason: "VAULTWARDEN_BIN names no executable" } as const)
    : findPeer("vaultwarden");

/** What the server needs to run without a web vault, by many clients of one address. */
const serverSettings = {
  VAULTWARDEN_BIN: named,
  ROCKET_ADDRESS: "127.0.0.1",
  WEB_VAULT_ENABLED: "false",
  PASSWORD_ITERATIONS: "100000",
  LOGIN_RATELIMIT_MAX_BURST: "1000",
  UNAUTHENTICATED_RATELIMIT_MAX_BURST: "10000",
  DISABLE_ICON_DOWNLOAD: "true",
};

const define = search.found ? describe : describe.skip;
const why = search.found ? search.version : `skipped: ${search.reason}`;

define(`a real Vaultwarden (${why})`, () => {
  it("is started, stopped, restored elsewhere and started again by the daemon", async () => {
    await using site = new Site(serverSettings);
    const first = await site.run("a");
    const ids = await createItems(await first.register(), ["one", "two"]);
    await untilStored(site, "a");
    expect((await first.end()).code).toBe(0);

    expect((await site.command("b", "restore")).code).toBe(0);
    expect(itemIds(site.rows("b"))).toEqual(ids.toSorted());
    const second = await site.run("b");
    const client = await second.login();
    expect(await itemNames(client)).toEqual(["one", "two"]);
    ids.push(...(await createItems(client, ["three"])));
    expect((await second.end()).code).toBe(0);
    expect((await site.command("c", "restore")).code).toBe(0);
    expect(itemIds(site.rows("c"))).toEqual(ids.toSorted());
  });

  it("takes every call of the vault workload, and stores what was acknowledged", async () => {
    await using site = new Site(serverSettings);
    const daemon = await site.run("a");
    await daemon.ready();
    const recordsPath = site.path("records.jsonl");
    const workload = await startVaultWorkload({
      account: { url: daemon.url, email: "b@example.org", password: "a long password" },
      recordsPath,
      seed: 1,
    });
    await workload.untilAcknowledged(150);
    expect(await workload.stop()).toEqual({ reason: "stopped", refusals: [] });
    expect((await daemon.end()).code).toBe(0);
    const check = await checkVault({ dataFolder: site.path("a") }, readVaultRecords(recordsPath), {
      olderThan: Number.POSITIVE_INFINITY,
    });
    expect(check.problems).toEqual([]);
    expect(check.rows).toBeGreaterThan(20);
    expect(check.files).toBeGreaterThan(10);
  });
});
