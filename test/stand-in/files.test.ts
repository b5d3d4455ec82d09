import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { registerAndLogin, type StandIn } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { VaultPlace } from "./vault-place.ts";

// Goal: files come and go as strace saw it on the real server. Method: uploads slowed down by the stand-in's knobs, and looked at meanwhile.

/** Several seconds for a file of 10 KB. */
const slow = { STAND_IN_UPLOAD_CHUNK_BYTES: "1000", STAND_IN_UPLOAD_CHUNK_MS: "300" };
/** Nothing is written in the time of a test. */
const halted = { ...slow, STAND_IN_UPLOAD_CHUNK_MS: "600000" };

async function vaultWithItem(place: VaultPlace, env: Readonly<Record<string, string>> = {}) {
  const standIn = await place.start(env);
  const client = await registerAndLogin(place.account(standIn));
  return { standIn, client, item: await client.createItem({ name: "item" }) };
}

const revision = (place: VaultPlace) => place.query("SELECT updated_at FROM users");

/** Sends the beginning of a multipart body that announces more, and leaves the connection open. */
function beginUpload(standIn: StandIn, path: string, accessToken: string) {
  const { hostname, port } = new URL(standIn.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {}); // it is cut on purpose
  const part = `--xyz\r\nContent-Disposition: form-data; name="data"; filename="f"\r\nContent-Type: application/octet-stream\r\n\r\n`;
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${accessToken}\r\nContent-Type: multipart/form-data; boundary=xyz\r\nContent-Length: 1000000\r\n\r\n${part}${"z".repeat(50_000)}`,
  );
  return socket;
}

describe("an attachment", () => {
  it("has its row, is spooled whole, and appears with 0 bytes; a kill leaves all of it, and nobody cleans up", async () => {
    await using place = new VaultPlace();
    const { standIn, client, item } = await vaultWithItem(place, halted);
    const before = revision(place);
    const cut = client.uploadAttachment(item, "file", new Uint8Array(5000)).catch(() => "cut");
    await expect.poll(() => place.files("attachments").length).toBe(1);
    const [row] = place.query<{ id: string; file_size: number }>("SELECT * FROM attachments");
    const path = place.path("attachments", item, row?.id ?? "");
    const [spooled = "none", ...more] = place.files("tmp");
    expect([spooled, more]).toEqual([expect.stringMatching(/^\.tmp[0-9a-z]{6}$/), []]);
    expect(statSync(path).size).toBe(0);
    expect(statSync(place.path("tmp", spooled)).size).toBe(row?.file_size);
    expect(revision(place)).toEqual(before);
    standIn.kill("SIGKILL");
    expect(await cut).toBe("cut");
    await place.start();
    expect(statSync(path).size).toBe(0);
    expect(place.files("tmp")).toEqual([spooled]);
  });

  it("grows under its final name; the revision date is last, and the spooled file gone", async () => {
    await using place = new VaultPlace();
    const { client, item } = await vaultWithItem(place, slow);
    const before = revision(place);
    const uploading = client.uploadAttachment(item, "file", new Uint8Array(10_000));
    await expect.poll(() => place.files("attachments").length).toBe(1);
    const [row] = place.query<{ id: string; file_size: number }>("SELECT * FROM attachments");
    const path = place.path("attachments", item, row?.id ?? "");
    await expect.poll(() => statSync(path).size).toBeGreaterThan(0);
    expect(statSync(path).size).toBeLessThan(row?.file_size ?? 0);
    expect(revision(place)).toEqual(before);
    await uploading;
    expect(statSync(path).size).toBe(row?.file_size);
    expect(revision(place)).not.toEqual(before);
    expect(place.files("tmp")).toEqual([]);
  });

  it("is rewritten in place when its bytes are sent again: same inode, truncated first, its size in the row", async () => {
    await using place = new VaultPlace();
    const { standIn, client, item } = await vaultWithItem(place);
    const id = await client.uploadAttachment(item, "file", new Uint8Array(9000));
    const path = place.path("attachments", item, id);
    // Held open, its inode cannot be used for another file.
    const before = openSync(path, "r");
    const { ino } = fstatSync(before);
    standIn.kill("SIGKILL");

    const second = await place.start(halted);
    client.url = second.url;
    const cut = client.replaceAttachment(item, id, Buffer.alloc(4000, 1)).catch(() => "cut");
    await expect.poll(() => statSync(path).size).toBe(0);
    expect(statSync(path).ino).toBe(ino);
    second.kill("SIGKILL");
    expect(await cut).toBe("cut");

    client.url = (await place.start()).url;
    await client.replaceAttachment(item, id, Buffer.alloc(4000, 1));
    expect(statSync(path).ino).toBe(ino);
    closeSync(before);
    expect(place.query("SELECT file_size FROM attachments")).toEqual([
      { file_size: statSync(path).size },
    ]);
    expect(await client.downloadAttachment(item, id)).toEqual(new Uint8Array(4000).fill(1));
    const tooBig = client.replaceAttachment(item, id, new Uint8Array(1_100_000));
    await expect(tooBig).rejects.toMatchObject({ status: 400 });
    expect(await client.downloadAttachment(item, id)).toHaveLength(4000);
  });

  it("loses its row before its file, and the item's directory stays", async () => {
    await using place = new VaultPlace();
    const { client, item } = await vaultWithItem(place);
    const id = await client.uploadAttachment(item, "file", new Uint8Array(10));
    const path = place.path("attachments", item, id);
    // A directory in the place of the file cannot be removed as one.
    renameSync(path, join(place.directory, "aside"));
    mkdirSync(path);
    await expect(client.deleteAttachment(item, id)).rejects.toMatchObject({ status: 500 });
    expect(place.query("SELECT id FROM attachments")).toEqual([]);
    expect(existsSync(path)).toBe(true);
    rmSync(path, { recursive: true });

    const other = await client.uploadAttachment(item, "file", new Uint8Array(10));
    await client.deleteAttachment(item, other);
    await client.uploadAttachment(item, "file", new Uint8Array(10));
    await client.deleteItem(item);
    expect(place.files("attachments")).toEqual([]);
    expect(statSync(place.path("attachments", item)).isDirectory()).toBe(true);
    expect(place.query("SELECT id FROM attachments")).toEqual([]);
  });
});

describe("an upload that is cut short", () => {
  it("leaves its row, no file, and no spooled file when the client goes", async () => {
    await using place = new VaultPlace();
    const { standIn, client, item } = await vaultWithItem(place);
    const id = await client.uploadAttachment(item, "file", new Uint8Array(10));
    rmSync(place.path("attachments", item, id));
    const path = `/api/ciphers/${item}/attachment/${id}`;
    const socket = beginUpload(standIn, path, client.tokens.accessToken);
    // It is spooled as it arrives.
    await expect
      .poll(() => place.files("tmp").map((name) => statSync(place.path("tmp", name)).size))
      .toEqual([expect.toSatisfy((size: number) => size > 40_000)]);
    socket.destroy();
    await expect.poll(() => place.files("tmp")).toEqual([]);
    expect(place.files("attachments")).toEqual([]);
    expect(place.query("SELECT id FROM attachments")).toEqual([{ id }]);
  });

  it("and when the server stops and does not wait for it", async () => {
    await using place = new VaultPlace();
    const { standIn, client, item } = await vaultWithItem(place, {
      ROCKET_SHUTDOWN: "{grace=0,mercy=0}",
    });
    const id = await client.uploadAttachment(item, "file", new Uint8Array(10));
    rmSync(place.path("attachments", item, id));
    beginUpload(standIn, `/api/ciphers/${item}/attachment/${id}`, client.tokens.accessToken);
    await expect.poll(() => place.files("tmp").length).toBe(1);
    standIn.kill("SIGTERM");
    expect(await standIn.exited).toMatchObject({ signal: null });
    expect(place.files("tmp")).toEqual([]);
    expect(place.files("attachments")).toEqual([]);
  });
});

describe("a file Send", () => {
  it("has its row first, and what a kill has cut short stays so: no second upload", async () => {
    await using place = new VaultPlace();
    const { standIn, client } = await vaultWithItem(place, halted);
    const cut = client.createFileSend("send", "file", new Uint8Array(5000)).catch(() => "cut");
    await expect.poll(() => place.files("sends").length).toBe(1);
    standIn.kill("SIGKILL");
    expect(await cut).toBe("cut");
    const [row] = place.query<{ uuid: string; id: string; name: string; size: number }>(
      "SELECT uuid, data ->> 'id' AS id, data ->> 'fileName' AS name, data ->> 'size' AS size FROM sends",
    );
    const path = place.path("sends", row?.uuid ?? "", row?.id ?? "");
    expect(statSync(path).size).toBe(0);

    client.url = (await place.start()).url;
    const form = new FormData();
    form.set("data", new Blob([new Uint8Array(row?.size ?? 0)]), row?.name);
    const answer = await fetch(`${client.url}/api/sends/${row?.uuid}/file/${row?.id}`, {
      method: "POST",
      headers: { authorization: `Bearer ${client.tokens.accessToken}` },
      body: form,
    });
    expect([answer.status, await answer.text()]).toEqual([
      400,
      expect.stringContaining("already been uploaded"),
    ]);
    expect(statSync(path).size).toBe(0);
  });

  it("by the deprecated call has its file before its row", async () => {
    await using place = new VaultPlace();
    const { standIn, client } = await vaultWithItem(place, halted);
    const cut = client.createLegacyFileSend("send", "f", new Uint8Array(5000)).catch(() => "cut");
    await expect.poll(() => place.files("sends").length).toBe(1);
    expect(place.query("SELECT uuid FROM sends")).toEqual([]);
    standIn.kill("SIGKILL");
    expect(await cut).toBe("cut");
    client.url = (await place.start()).url;
    const id = await client.createLegacyFileSend("send", "file.txt", Buffer.from("hello"));
    expect(await client.downloadSend(id)).toEqual(new Uint8Array(Buffer.from("hello")));
  });

  it("loses its directory before its row, when it is deleted and when it has expired", async () => {
    await using place = new VaultPlace();
    const { standIn, client } = await vaultWithItem(place);
    const purge = async () =>
      (await fetch(`${standIn.url}/stand-in/purge-sends`, { method: "POST" })).json();
    const kept = await client.createFileSend("kept", "file", Buffer.of(1));
    const id = await client.createFileSend("expired", "file", Buffer.of(1), {
      deletionDate: new Date(Date.now() - 1000),
    });
    place.query(
      "CREATE TRIGGER no_delete BEFORE DELETE ON sends BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    await expect(client.deleteSend(id)).rejects.toMatchObject({ status: 500 });
    expect(existsSync(place.path("sends", id))).toBe(false);
    expect(place.query("SELECT uuid FROM sends WHERE uuid = ?", id)).toHaveLength(1);
    place.query("DROP TRIGGER no_delete");
    expect(await purge()).toEqual({ purged: 1 });
    expect(place.query("SELECT uuid FROM sends")).toEqual([{ uuid: kept }]);
    expect(place.files("sends")).toHaveLength(1);
  });
});

it("keeps everything where its settings say, also relative to the working directory", async () => {
  await using place = new VaultPlace();
  const env = {
    DATABASE_URL: "sqlite://elsewhere/vault.db",
    ATTACHMENTS_FOLDER: "elsewhere/a",
    SENDS_FOLDER: join(place.directory, "elsewhere", "s"),
    TMP_FOLDER: "elsewhere/t",
    RSA_KEY_FILENAME: "elsewhere/key",
    LOG_FILE: "elsewhere/log",
  };
  mkdirSync(join(place.directory, "elsewhere"));
  const standIn = await place.start(env);
  const client = await registerAndLogin(place.account(standIn));
  const item = await client.createItem({ name: "item" });
  const attachment = await client.uploadAttachment(item, "file", Buffer.of(1));
  const send = await client.createFileSend("send", "file", Buffer.of(1));
  for (const path of ["vault.db", `a/${item}/${attachment}`, `s/${send}`, "t", "key.pem", "log"]) {
    expect(existsSync(join(place.directory, "elsewhere", path)), path).toBe(true);
  }
  expect(place.files("")).toEqual([]);
});

it("reads .env in the working directory, and opens its log file again on SIGHUP", async () => {
  await using place = new VaultPlace();
  const log = join(place.directory, "vault.log");
  writeFileSync(join(place.directory, ".env"), `LOG_FILE=${log}\n`);
  const standIn = await place.start();
  expect(readFileSync(log, "utf8")).toContain("Rocket has launched from");
  renameSync(log, `${log}.1`);
  standIn.kill("SIGHUP");
  await expect.poll(() => existsSync(log)).toBe(true);
  standIn.kill("SIGTERM");
  expect((await standIn.exited).code).toBe(0);
  expect(readFileSync(log, "utf8")).toContain("process exited");
});
