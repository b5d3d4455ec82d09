import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { registerAndLogin, type StandIn } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";
import { VaultPlace } from "./vault-place.ts";

// Goal: config.json comes, changes, counts and goes as with the real admin page.

const env = { ADMIN_TOKEN: "let me in, please" };

async function logIn(standIn: StandIn, token = env.ADMIN_TOKEN): Promise<Response> {
  return fetch(`${standIn.url}/admin`, {
    method: "POST",
    body: new URLSearchParams({ token }),
    redirect: "manual",
  });
}

/** Calls with a session of the admin page. */
async function adminOf(standIn: StandIn) {
  const answer = await logIn(standIn);
  expect(answer.status).toBe(303);
  const cookie = (answer.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
  expect(cookie).toMatch(/^VW_ADMIN=/);
  return (path: string, body: unknown = {}) =>
    fetch(standIn.url + path, {
      method: "POST",
      headers: { cookie, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
}

it("writes config.json in place, for what may be edited, and deletes it", async () => {
  await using place = new VaultPlace();
  const standIn = await place.start(env);
  const admin = await adminOf(standIn);
  const path = place.path("config.json");
  const settings = { signups_allowed: false, database_url: "sqlite:///elsewhere", domain: null };
  expect((await admin("/admin/config", settings)).status).toBe(200);
  expect(readFileSync(path, "utf8")).toBe('{\n  "signups_allowed": false\n}');
  // Held open, its inode cannot be used for another file.
  const before = openSync(path, "r");
  expect(statSync(path).mode & 0o777).toBe(0o644);
  // It counts at once …
  await expect(registerAndLogin(place.account(standIn))).rejects.toMatchObject({ status: 400 });
  const longer = { signups_allowed: true, domain: "https://a.example/vault" };
  expect((await admin("/admin/config", longer)).status).toBe(200);
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(longer);
  expect(JSON.parse(readFileSync(before, "utf8"))).toEqual(longer);
  closeSync(before);
  await registerAndLogin(place.account(standIn));
  expect((await fetch(`${standIn.url}/alive`)).status).toBe(200);
  standIn.kill("SIGTERM");
  await standIn.exited;

  // … or with the next start, and then it beats the environment.
  const next = await place.start({ ...env, DOMAIN: "http://b.example" });
  expect((await fetch(`${next.url}/vault/alive`)).status).toBe(200);
  const again = await adminOf({ ...next, url: `${next.url}/vault` });
  expect((await again("/admin/config/delete")).status).toBe(200);
  expect(existsSync(path)).toBe(false);
  expect((await again("/admin/config/delete")).status).toBe(200);
});

it("refuses who is not logged in, a wrong token and a wrong type, and has no such calls without a token", async () => {
  await using place = new VaultPlace();
  const standIn = await place.start(env);
  expect((await logIn(standIn, "wrong")).status).toBe(401);
  for (const path of ["/admin/config", "/admin/config/delete", "/admin/config/backup_db"]) {
    expect((await fetch(standIn.url + path, { method: "POST", body: "{}" })).status).toBe(401);
  }
  const admin = await adminOf(standIn);
  expect((await admin("/admin/config", { signups_allowed: "no" })).status).toBe(422);
  expect(existsSync(place.path("config.json"))).toBe(false);
  const without = await place.start();
  expect((await logIn(without)).status).toBe(404);
});

it("makes a backup beside the database", async () => {
  await using place = new VaultPlace();
  const admin = await adminOf(await place.start(env));
  expect((await admin("/admin/config/backup_db")).status).toBe(200);
  expect(place.files("").filter((name) => /^db_\d{8}_\d{6}\.sqlite3$/.test(name))).toHaveLength(1);
});

it.each([
  ["is cut off", '{"signups_allowed": fal'],
  [
    "holds a known key twice",
    '{"signups_allowed": false, "x": {"y": 1}, "signups_allowed": false}',
  ],
  ["holds a value of the wrong type", '{"signups_allowed": false, "domain": 1}'],
  ["is no object", '["signups_allowed"]'],
])("ignores a config.json that %s, in silence", async (_name, text) => {
  await using place = new VaultPlace();
  (await place.start()).kill("SIGKILL");
  writeFileSync(place.path("config.json"), text);
  await registerAndLogin(place.account(await place.start()));
});

it("takes a config.json with unknown keys, also twice", async () => {
  await using place = new VaultPlace();
  (await place.start()).kill("SIGKILL");
  const text =
    '{"signups_allowed": false, "later": {"signups_allowed": true}, "later": "{\\"signups_allowed\\":", "n": null}';
  writeFileSync(place.path("config.json"), text);
  const standIn = await place.start();
  await expect(registerAndLogin(place.account(standIn))).rejects.toMatchObject({ status: 400 });
});

it("ends with 12 for a DOMAIN without a scheme", async () => {
  await using place = new VaultPlace();
  await expect(place.start({ DOMAIN: "vault.example" })).rejects.toThrow(/code 12.*DOMAIN/);
});
