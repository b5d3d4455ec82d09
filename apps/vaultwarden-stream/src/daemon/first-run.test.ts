import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openObjectStore, type S3Location } from "@vaultwarden-stream/object-store";
import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkFirstRun, planFirstRun, vaultOfKey } from "./first-run.ts";

const { signal } = new AbortController();
const file = "0000000000000001-0000000000000001.ltx";
const bytes = new Uint8Array([1]);

describe("vaultOfKey", () => {
  it.each([
    ["vault/epochs/00000001.json", "vault/"],
    ["epochs/00000001.json", ""],
    ["a/b/epochs/00000012-0123abcd.json", "a/b/"],
    [`vault/db/00000001-0123abcd/0000/${file}`, "vault/"],
    [`vault/db/00000001-0123abcd/ltx/9/${file}`, "vault/"],
    [`vaultwarden/db.sqlite3/0000/${file}`, "vaultwarden/"],
    [`vaultwarden/db.sqlite3/ltx/0/${file}`, "vaultwarden/"],
    // Another application's replica, its pictures, our own companions.
    [`shop/app.db/0000/${file}`, undefined],
    [`shop/db/0000/${file}`, undefined],
    ["photos/2026/epochs/one.json", undefined],
    ["vault/epochs/00000001.lease.json", undefined],
    ["vaultwarden/attachments.tar", undefined],
  ])("%s", (key, place) => expect(vaultOfKey(key)).toBe(place));
});

describe("planFirstRun", () => {
  const nothing = { ownKey: undefined, otherVault: undefined, unseenBecause: undefined };
  const strict = { store: "/mnt/vault", allowsEmptyStart: false };
  const allowed = { ...strict, allowsEmptyStart: true };

  it("begins where nothing is, and beside another vault only if somebody said so for just this place", () => {
    expect(planFirstRun(nothing, strict)).toEqual({ action: "begin", warning: undefined });
    const beside = { ...nothing, otherVault: "file:///mnt/vualt" };
    expect(planFirstRun(beside, strict)).toMatchObject({
      action: "refuse",
      why: expect.stringContaining("file:///mnt/vualt"),
      next: expect.stringContaining("ALLOW_EMPTY_START=/mnt/vault"),
    });
    expect(planFirstRun(beside, allowed)).toMatchObject({ action: "begin" });
  });

  it("never begins over something, whatever is allowed", () => {
    const plan = planFirstRun({ ...nothing, ownKey: "db.sqlite3/x" }, allowed);
    expect(plan).toMatchObject({ action: "refuse", why: expect.stringContaining("db.sqlite3/x") });
  });

  it("begins with a warning where it may not look", () => {
    const plan = planFirstRun({ ...nothing, unseenBecause: "nobody may" }, strict);
    expect(plan).toMatchObject({ warning: expect.stringContaining("nobody may") });
  });
});

describe("checkFirstRun in a bucket", () => {
  let server: S3Server;
  beforeEach(async () => {
    server = await startS3Server();
  });
  afterEach(() => server.stop());

  function location(prefix: string): S3Location {
    const { bucket, endpoint, region, credentials } = server;
    return { bucket, prefix, endpoint, region, credentials, forcePathStyle: true };
  }

  function check(prefix: string, allowsEmptyStart = false): Promise<string | undefined> {
    return checkFirstRun({ store: location(prefix), allowsEmptyStart, signal });
  }

  const put = (key: string): Promise<void> => openObjectStore(location("")).put(key, bytes);

  it("has no objection to an empty bucket, nor to other things in it", async () => {
    expect(await check("vault")).toBeUndefined();
    await put("photos/1.jpg");
    await put("vault/probe/0123/claim");
    expect(await check("vault")).toBeUndefined();
  });

  it.each(["vaultwarden/epochs/00000001.json", `vaultwarden/db.sqlite3/0000/${file}`])(
    "names the vault that %s is of",
    async (key) => {
      await put("attic/box.txt");
      await put(key);
      await expect(check("vaultwardem")).rejects.toMatchObject({
        code: "START_REFUSED",
        message: expect.stringContaining("vault at s3://test-bucket/vaultwarden?"),
        hint: expect.stringContaining("ALLOW_EMPTY_START=vaultwardem"),
      });
      expect(await check("vaultwardem", true)).toBeUndefined();
    },
  );

  it("weakness 12: refuses a place that holds something, as a bucket of the predecessor, and stops at the first page of it", async () => {
    await put("vault/attachments.tar");
    server.clearRequests();
    await expect(check("vault", true)).rejects.toMatchObject({
      message: expect.stringContaining("attachments.tar"),
    });
    expect(server.requests).toHaveLength(1);
  });

  it("warns where the credentials may only list the prefix", async () => {
    server.setFaults(({ key }) => (key === "" ? { kind: "answer", status: 403 } : undefined));
    expect(await check("vault")).toContain("only the prefix may be listed");
  });

  it("takes no other answer for an absence", async () => {
    server.setFaults(({ key }) =>
      key === "" ? { kind: "answer", status: 400, code: "KeyTooLongError" } : undefined,
    );
    await expect(check("vault")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("lists only so much of a bucket, and says so", async () => {
    const { objects } = server as unknown as { objects: Map<string, unknown> };
    await put("photos/first.jpg");
    const photo = objects.get("photos/first.jpg");
    for (let n = 0; n < 20_000; n += 1) objects.set(`photos/${n}.jpg`, photo);
    expect(await check("vault")).toContain("only its beginning");
    expect(server.requests.filter(({ key }) => key === "")).toHaveLength(20);
  });
});

describe("checkFirstRun in a directory", () => {
  let parent: string;
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), "first-run-"));
  });
  afterEach(() => rmSync(parent, { recursive: true, force: true }));

  it("looks into the directories beside it, and no deeper", async () => {
    const options = { store: join(parent, "vualt"), allowsEmptyStart: false, signal };
    mkdirSync(join(parent, "empty"));
    await openObjectStore(join(parent, "attic", "old")).put("epochs/00000001.json", bytes);
    expect(await checkFirstRun(options)).toBeUndefined();
    await openObjectStore(join(parent, "vault")).put("epochs/00000001.json", bytes);
    await expect(checkFirstRun(options)).rejects.toMatchObject({
      code: "START_REFUSED",
      message: expect.stringContaining(join(parent, "vault")),
      hint: expect.stringContaining("STORE_DIR"),
    });
    expect(await checkFirstRun({ ...options, allowsEmptyStart: true })).toBeUndefined();
  });
});
