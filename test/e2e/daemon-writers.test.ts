/** A vault's store with somebody else at it, or without an answer: real daemons, two volumes. */
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { openObjectStore } from "@vaultwarden-stream/object-store";
import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  createItems,
  isAlive,
  itemIds,
  itemNames,
  Site,
  s3Settings,
  until,
  untilStored,
} from "./daemon-harness.ts";

it("weakness 5, two primaries: the older one is fenced and stops its vault, its late items are in a branch, both say so, and it never takes the vault back", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const client = await first.register();
  const common = await createItems(client, ["common"]);
  await untilStored(site, "a");
  const vault = site.status("a")?.server?.pid ?? -1;

  const second = await site.run("b", {}, "--take-over");
  const other = await second.login();
  expect(second.stderr).toMatch(/streaming: new timeline .*another's/);
  const late = await createItems(client, ["late, before it knows"]);
  await untilStored(site, "a");
  await first.jumpClock();
  late.push(...(await createItems(client, ["late"])));
  await first.logged("fenced: the vault is stopped here");
  const won = await createItems(other, ["on the other one"]);
  expect(isAlive(vault)).toBe(false);
  expect(first.stderr).toContain(`process ${second.process.pid}`);
  expect(site.status("a")).toMatchObject({
    status: "error",
    server: null,
    waitingFiles: 0,
    failure: { code: "FENCED" },
    fencedBy: { pid: second.process.pid, epoch: 2 },
  });
  const branch = site.status("a")?.timeline ?? "";
  expect((await site.command("a", "status")).stdout).toContain("fenced by:     epoch 2");

  expect(first.process.exitCode).toBe(null);
  expect((await first.end()).code).toBe(5);
  const again = await site.run("a");
  await again.logged("waiting for another writer");
  expect((await again.end()).code).toBe(0);
  expect(second.stderr).not.toContain("fenced");
  expect((await second.end()).code).toBe(0);

  await site.command("c", "restore", "--yes");
  expect(itemIds(site.rows("c"))).toEqual([...common, ...won].toSorted());
  await site.command("c", "restore", "--yes", "--timeline", branch);
  expect(itemIds(site.rows("c"))).toEqual([...common, ...late].toSorted());
});

it("a copied volume started twice: the second one waits, says for whom, and goes on with what the first one stored", async () => {
  await using site = new Site();
  const before = await site.run("a");
  await createItems(await before.register(), ["one"]);
  await before.end();
  cpSync(site.path("a"), site.path("b"), { recursive: true, preserveTimestamps: true });
  const first = await site.run("a");
  await createItems(await first.login(), ["two"]);
  const second = await site.run("b");
  await second.logged("waiting for another writer: epoch 2");
  expect(second.stderr).toContain("run --take-over");
  expect(site.status("b")).toMatchObject({
    server: null,
    waitingFor: { epoch: 2, pid: first.process.pid },
  });
  expect((await first.end()).code).toBe(0);
  const client = await second.login();
  expect(await itemNames(client)).toEqual(["one", "two"]);
  expect(site.status("b")?.waitingFor).toBe(null);
  expect((await second.end()).code).toBe(0);
});

it("weakness 6 and H4, a standby that accepts writes: NODE_ROLE=secondary is refused by name before anything starts", async () => {
  await using site = new Site();
  const daemon = await site.run("a", { NODE_ROLE: "secondary" });
  const { code, stderr } = await daemon.refused();
  expect(code).toBe(2);
  expect(stderr).toContain('NODE_ROLE="secondary"');
  expect(stderr).toContain("a standby comes with a later release");
  expect(existsSync(site.path("a"))).toBe(false);
  expect(existsSync(site.store)).toBe(false);
});

describe("with a bucket", () => {
  let server: S3Server;
  beforeEach(async () => {
    server = await startS3Server();
  });
  afterEach(() => server.stop());

  function stored(): string[] {
    return [...server.objects]
      .filter(([key]) => key.endsWith(".ltx"))
      .map(([key, { body }]) => `${key} ${Buffer.from(body).toString("base64")}`);
  }

  /** A vault with one item, ended cleanly. */
  async function storeVault(site: Site): Promise<string[]> {
    const daemon = await site.run("a");
    const ids = await createItems(await daemon.register(), ["one"]);
    expect((await daemon.end()).code).toBe(0);
    return ids;
  }

  it("weakness 1, a half-failed first start: whichever request fails, no vault runs and nothing stored changes; then it is complete", async () => {
    await using site = new Site(s3Settings(server));
    const ids = await storeVault(site);
    const before = stored();
    let failureCount = 0;
    for (let k = 0; ; k += 3) {
      server.setFaults([{ match: {}, fault: { kind: "answer", status: 403 }, skip: k, times: 1 }]);
      const daemon = await site.run("b");
      const started = daemon.ready().then(() => "started" as const);
      started.catch(() => {}); // it ended
      const end = await Promise.race([daemon.finished, started]);
      if (end === "started") {
        server.setFaults();
        expect(await itemNames(await daemon.login())).toEqual(["one"]);
        await daemon.end();
        break;
      }
      failureCount += 1;
      expect(end.code).toBe(6);
      expect(end.stderr).not.toContain("started the vault");
      expect(stored()).toEqual(before);
    }
    expect(failureCount).toBeGreaterThan(2);
    expect(itemIds(site.rows("b"))).toEqual(ids);
  });

  it("weakness 7 and H2, a wrong prefix or a deleted replica: no empty vault, and what was found is named", async () => {
    await using site = new Site(s3Settings(server));
    await storeVault(site);
    const keys = [...server.objects.keys()];
    const wrong = await site.run("b", { S3_PREFIX: "vualt" });
    const refused = await wrong.refused();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`there is a vault at s3://${server.bucket}/vault?`);
    expect(refused.stderr).toContain("ALLOW_EMPTY_START=vualt");
    expect([...server.objects.keys()]).toEqual(keys);

    const { bucket, endpoint, region, credentials } = server;
    const store = openObjectStore({ bucket, prefix: "", endpoint, region, credentials });
    for (const key of keys) if (key.startsWith("vault/db/")) await store.delete(key);
    const deleted = await (await site.run("b")).refused();
    expect(deleted.code).toBe(1);
    expect(deleted.stderr).toContain("nothing restores where epoch 1 wrote");
    expect(existsSync(join(site.path("b"), "db.sqlite3"))).toBe(false);

    const meant = await site.run("b", { S3_PREFIX: "vualt", ALLOW_EMPTY_START: "vualt" });
    await meant.ready();
    expect((await meant.end()).code).toBe(0);
  });

  it("starts without the store on a state of its own, says so at once and at its end, and ships at the next start", async () => {
    await using site = new Site(s3Settings(server));
    const ids = await storeVault(site);
    await server.pause();
    const offline = await site.run("a", { REPLICATION_SHUTDOWN_TIMEOUT: "1" });
    ids.push(...(await createItems(await offline.login(), ["written without the store"])));
    expect(offline.stderr).toContain("without an epoch until the store answers");
    await until("the status says so", () => (site.status("a")?.waitingFiles ?? 0) > 0);
    expect(site.status("a")).toMatchObject({ status: "error", epoch: null });
    const { code, stderr } = await offline.end();
    expect(code).toBe(1);
    expect(stderr).toContain("not everything is in the store");

    await server.resume();
    const back = await site.run("a");
    await back.ready();
    expect((await back.end()).code).toBe(0);
    await site.command("c", "restore");
    expect(itemIds(site.rows("c"))).toEqual(ids.toSorted());
  });
});
