import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { findCanaries, startS3Server } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import {
  itemNames,
  killIfRunning,
  Site,
  s3Settings,
  until,
  untilFilesStored,
  untilStored,
} from "./daemon-harness.ts";

const bytes = (seed: number, size = 40_000): Buffer => Buffer.alloc(size, `content ${seed};`);

it("weakness 8, files that lag: after kill -9 of everything, logins survive and every attachment is there or named", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const client = await first.register();
  const item = await client.createItem({ name: "house" });
  const attachment = await client.uploadAttachment(item, "deed.pdf", bytes(1));
  const send = await client.createFileSend("photo", "photo.jpg", bytes(2));
  await untilStored(site, "a");
  await untilFilesStored(site, "a");
  // Its row is stored within a second; its file perhaps not.
  await client.uploadAttachment(item, "late.pdf", bytes(3));
  await untilStored(site, "a");
  killIfRunning(site.status("a")?.server?.pid ?? -1);
  await first.end("SIGKILL");

  const restored = await site.command("b", "restore", "--json");
  const { files } = JSON.parse(restored.stdout) as { files: Record<string, unknown> };
  expect(files["expected"]).toBe(3);
  const missing = files["missing"] as string[];
  expect((files["present"] as number) + missing.length).toBe(3);
  for (const path of missing) expect(restored.stderr).toContain(path);

  const second = await site.run("c", {}, "--take-over");
  await second.ready();
  // The token of before, with no login in between: signed by the key that was restored.
  client.url = second.url;
  expect(await itemNames(client)).toEqual(["house"]);
  expect(Buffer.from(await client.downloadAttachment(item, attachment))).toEqual(bytes(1));
  expect(Buffer.from(await client.downloadSend(send))).toEqual(bytes(2));
  expect((await second.end()).code).toBe(0);
});

it("weakness 8, a first key that is not saved: it is stored before the vault answers for the first time", async () => {
  await using site = new Site();
  const seen = site.path("seen");
  const daemon = await site.run("a", {
    VAULTWARDEN_BIN: site.script(
      "look",
      `cp -r "${site.store}" "${seen}"; cp "${site.path("a")}/rsa_key.pem" "${site.path("key.pem")}"`,
    ),
  });
  await daemon.finished;
  const key = readFileSync(site.path("key.pem"));
  const digest = createHash("sha256").update(key).digest("hex");
  const blob = join(seen, "files", "blobs", digest.slice(0, 2), digest);
  expect(readFileSync(blob)).toEqual(key);
  expect(readdirSync(join(seen, "files", "manifests"))).toHaveLength(1);
});

it("brings a missing key back before the vault starts, and never replaces the stored one by another (H8)", async () => {
  await using site = new Site();
  const first = await site.run("a");
  await (await first.register()).createItem({ name: "one" });
  await first.end();
  const path = join(site.path("a"), "rsa_key.pem");
  const key = readFileSync(path);
  rmSync(path);
  const second = await site.run("a");
  await second.ready();
  expect(readFileSync(path)).toEqual(key);
  await second.end();

  await using other = new Site();
  await (await other.run("a")).end();
  const foreign = await other.run("a");
  await foreign.ready();
  await foreign.end();
  writeFileSync(path, readFileSync(join(other.path("a"), "rsa_key.pem")));
  const third = await site.run("a");
  await third.logged("it is another key than the stored one");
  await third.end();
  expect((await site.command("b", "restore")).code).toBe(0);
  expect(readFileSync(join(site.path("b"), "rsa_key.pem"))).toEqual(key);
});

it("H1, H6, weaknesses 11 and 19: a wiped directory takes nothing from the store, the last attachment that is deleted is gone, and the past keeps it", async () => {
  await using site = new Site();
  const daemon = await site.run("a");
  const client = await daemon.register();
  const item = await client.createItem({ name: "house" });
  const attachment = await client.uploadAttachment(item, "deed.pdf", bytes(1));
  await untilStored(site, "a");
  await untilFilesStored(site, "a");
  const moment = new Date(Date.now() + 20).toISOString();
  await until("the moment is over", () => new Date().toISOString() > moment);

  const attachments = join(site.path("a"), "attachments");
  const sealed = readFileSync(join(attachments, item, attachment));
  renameSync(attachments, site.path("unmounted"));
  await until("the status says so", () => site.status("a")?.files?.state === "held");
  mkdirSync(attachments);
  await untilFilesStored(site, "a");
  expect(site.status("a")?.files?.state).toBe("held");
  await site.command("b", "restore");
  expect(readFileSync(join(site.path("b"), "attachments", item, attachment))).toEqual(sealed);
  rmSync(attachments, { recursive: true });
  renameSync(site.path("unmounted"), attachments);

  await client.deleteAttachment(item, attachment);
  await untilStored(site, "a");
  await until("the deletion is stored", () => {
    const files = site.status("a")?.files;
    return files?.state === "ok" && files.files === 1;
  });
  expect((await daemon.end()).code).toBe(0);
  rmSync(site.path("b"), { recursive: true });
  const now = JSON.parse((await site.command("b", "restore", "--json")).stdout);
  expect(now.files).toMatchObject({ expected: 0, present: 0, missing: [] });
  expect(existsSync(join(site.path("b"), "attachments", item, attachment))).toBe(false);
  const before = await site.command("c", "restore", "--at", moment, "--json");
  expect(JSON.parse(before.stdout).files).toMatchObject({ expected: 1, present: 1, missing: [] });
  expect(readFileSync(join(site.path("c"), "attachments", item, attachment))).toEqual(sealed);
});

it("weakness 16 and H9, an old directory: its -wal, -shm, state and files do not survive a restore, are kept, and an undo brings all of it back", async () => {
  await using site = new Site();
  const first = await site.run("a");
  const client = await first.register();
  const item = await client.createItem({ name: "house" });
  const attachment = await client.uploadAttachment(item, "deed.pdf", bytes(1));
  await untilFilesStored(site, "a");
  expect((await first.end()).code).toBe(0);

  const second = await site.run("b");
  await (await second.login()).uploadAttachment(item, "new.pdf", bytes(2));
  await untilStored(site, "b");
  await untilFilesStored(site, "b");
  expect((await second.end()).code).toBe(0);

  // What a manual restore leaves: the files of another database beside the old one.
  for (const suffix of ["-wal", "-shm"]) {
    writeFileSync(join(site.path("a"), `db.sqlite3${suffix}`), "of another database");
  }
  writeFileSync(join(site.path("a"), "attachments", "stray"), "nobody knows me");
  const restored = await site.command("a", "restore", "--yes", "--json");
  expect(restored.code, restored.stderr).toBe(0);
  expect(JSON.parse(restored.stdout).files).toMatchObject({ expected: 2, present: 2 });
  expect(existsSync(join(site.path("a"), "db.sqlite3-wal"))).toBe(false);
  expect(existsSync(join(site.path("a"), "attachments", "stray"))).toBe(false);
  expect(site.rows("a")).toEqual(site.rows("b"));

  const undone = await site.command("a", "restore", "--undo", "--yes");
  expect(undone.code, undone.stderr).toBe(0);
  expect(readdirSync(join(site.path("a"), "attachments")).toSorted()).toEqual(
    [item, "stray"].toSorted(),
  );
  expect(readdirSync(join(site.path("a"), "attachments", item))).toEqual([attachment]);
  const third = await site.run("a", { ON_DIVERGENCE: "remote" });
  expect(await itemNames(await third.login())).toEqual(["house"]);
  await third.end();
});

it("weakness 9 and 28, a slow store at the end: the server first, one push at a time, what did not fit is named, and the code is not 0", async () => {
  const server = await startS3Server();
  await using site = new Site(s3Settings(server));
  try {
    const daemon = await site.run("a", { SHUTDOWN_TIMEOUT: "6" });
    const client = await daemon.register();
    const item = await client.createItem({ name: "house" });
    await untilStored(site, "a");
    await untilFilesStored(site, "a");
    server.setFaults(({ key }) =>
      key.includes("files/blobs/") ? { kind: "stall", during: "headers" } : undefined,
    );
    await client.uploadAttachment(item, "deed.pdf", bytes(1));
    await until("the upload hangs", () =>
      server.requests.some(({ key, method }) => method === "PUT" && key.includes("files/blobs/")),
    );
    const { code, stderr } = await daemon.end();
    expect(code).toBe(1);
    expect(stderr).toContain("of the vault are not in the store");
    await expect(client.createItem({ name: "too late" })).rejects.toThrow();
    // The database did fit.
    expect(stderr).toContain("everything is stored");

    server.setFaults(() => undefined);
    const second = await site.run("a");
    await second.ready();
    expect((await second.end()).code).toBe(0);
    const restored = await site.command("b", "restore", "--json");
    expect(JSON.parse(restored.stdout).files).toMatchObject({ expected: 1, present: 1 });
  } finally {
    await server.stop();
  }
});

it("weakness 14: after TERM the server takes nothing, however long the store hangs", async () => {
  const server = await startS3Server();
  await using site = new Site(s3Settings(server));
  try {
    const daemon = await site.run("a", { SHUTDOWN_TIMEOUT: "5" });
    const client = await daemon.register();
    await untilStored(site, "a");
    server.setFaults(() => ({ kind: "stall", during: "headers" }));
    await client.createItem({ name: "one" });
    const end = daemon.end();
    await daemon.logged("ending: the vault first");
    const pid = site.status("a")?.server?.pid ?? -1;
    await until("the server is gone", () => !existsSync(`/proc/${pid}`));
    await expect(client.createItem({ name: "two" })).rejects.toThrow();
    expect((await end).code).toBe(1);
  } finally {
    await server.stop();
  }
});

it("weakness 24: a day without changes sends no file and no manifest again", async () => {
  const server = await startS3Server();
  await using site = new Site(s3Settings(server));
  try {
    const daemon = await site.run("a");
    const client = await daemon.register();
    await client.uploadAttachment(await client.createItem({ name: "house" }), "deed", bytes(1));
    await untilStored(site, "a");
    await untilFilesStored(site, "a");
    server.clearRequests();
    for (let look = 0; look < 5; look += 1) await untilFilesStored(site, "a");
    expect(server.requests.filter(({ key }) => key.includes("/files/"))).toEqual([]);
    await daemon.end();
  } finally {
    await server.stop();
  }
});

it("canary secrets of the vault and of ours are in no log, no environment of the vault, no file and no object but those that are the vault's own", async () => {
  await using site = new Site();
  const canaries = [
    { name: "status token", secret: "canary-status-token" },
    { name: "admin token", secret: "canary-admin-token" },
    { name: "attachment", secret: "canary-in-an-attachment" },
  ];
  mkdirSync(site.path("a"));
  writeFileSync(
    join(site.path("a"), "config.json"),
    JSON.stringify({ admin_token: "canary-admin-token" }),
  );
  const seen = site.path("environment");
  const daemon = await site.run("a", {
    STATUS_TOKEN: "canary-status-token",
    STREAM_LOG_LEVEL: "debug",
    VAULTWARDEN_BIN: site.script("spying", `env > "${seen}"; exec "${site.path("vaultwarden")}"`),
  });
  const client = await daemon.register();
  const item = await client.createItem({ name: "house" });
  mkdirSync(join(site.path("a"), "attachments", item), { recursive: true });
  writeFileSync(join(site.path("a"), "attachments", item, "raw"), "canary-in-an-attachment");
  const key = readFileSync(join(site.path("a"), "rsa_key.pem"), "utf8").split("\n")[5] ?? "";
  canaries.push({ name: "signing key", secret: key });
  await untilStored(site, "a");
  await until("the files are stored", () => site.status("a")?.files?.files === 3);
  const { code, stdout, stderr } = await daemon.end();
  expect(code).toBe(0);
  writeFileSync(site.path("log"), stdout + stderr);

  const found = await findCanaries([site.directory], canaries);
  const places = new Set(
    found.map(({ canary, path }) => `${canary}: ${relative(site.directory, path)}`),
  );
  const blobOf = (path: string): string => {
    const digest = createHash("sha256").update(readFileSync(path)).digest("hex");
    return join("store", "files", "blobs", digest.slice(0, 2), digest);
  };
  const own = {
    "admin token": join("a", "config.json"),
    attachment: join("a", "attachments", item, "raw"),
    "signing key": join("a", "rsa_key.pem"),
  };
  expect([...places].toSorted()).toEqual(
    Object.entries(own)
      .flatMap(([name, path]) =>
        [path, blobOf(site.path(path))].map((place) => `${name}: ${place}`),
      )
      .toSorted(),
  );
});
