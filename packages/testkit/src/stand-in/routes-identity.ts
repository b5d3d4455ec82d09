import { pbkdf2 as pbkdf2Callback, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { HttpProblem, type Route, readForm, readJson } from "./http.ts";
import { isBusy, type Row, type SqlValue } from "./pool.ts";
import { signToken } from "./signing-key.ts";
import { column, formatTimestamp, issuer, replaceRow, requiredText, type Vault } from "./vault.ts";

const pbkdf2 = promisify(pbkdf2Callback);
const accessTokenSeconds = 7200;

/** Accounts and logins. */
export function identityRoutes(vault: Vault): Route[] {
  return [
    {
      method: "POST",
      path: "/identity/accounts/register",
      handle: async ({ request }) => {
        const body = await readJson(request);
        const keys = (body["keys"] ?? {}) as Record<string, unknown>;
        await register(vault, body, body["key"], keys);
        return { json: { object: "register", captchaBypassToken: "" } };
      },
    },
    {
      method: "POST",
      path: "/identity/accounts/register/send-verification-email",
      // Without mail the token is the body itself; what it must prove, nobody here asks.
      handle: async ({ request }) => ({ json: requiredText(await readJson(request), "email") }),
    },
    {
      method: "POST",
      path: "/identity/accounts/register/finish",
      handle: async ({ request }) => {
        const body = await readJson(request);
        const keys = (body["userAsymmetricKeys"] ?? {}) as Record<string, unknown>;
        await register(vault, body, body["userSymmetricKey"], keys);
        return { json: { object: "register", captchaBypassToken: "" } };
      },
    },
    {
      method: "POST",
      path: "/identity/accounts/prelogin",
      handle: async ({ request }) => {
        const user = await findUser(vault, requiredText(await readJson(request), "email"));
        return {
          json: {
            kdf: user?.["client_kdf_type"] ?? 0,
            kdfIterations: user?.["client_kdf_iter"] ?? vault.settings.passwordIterations,
            kdfMemory: user?.["client_kdf_memory"] ?? null,
            kdfParallelism: user?.["client_kdf_parallelism"] ?? null,
          },
        };
      },
    },
    {
      method: "POST",
      path: "/identity/connect/token",
      handle: async ({ request }) => {
        const form = await readForm(request);
        const grantType = form.get("grant_type");
        if (grantType === "password") return { json: await passwordLogin(vault, form) };
        if (grantType === "refresh_token") return { json: await refreshLogin(vault, form) };
        throw new HttpProblem(`grant_type ${grantType} is not supported`, { status: 400 });
      },
    },
  ];
}

async function register(
  vault: Vault,
  body: Readonly<Record<string, unknown>>,
  userKey: unknown,
  keys: Readonly<Record<string, unknown>>,
): Promise<void> {
  const email = requiredText(body, "email").trim().toLowerCase();
  if (!vault.settings.signupsAllowed || (await findUser(vault, email)) !== undefined) {
    throw new HttpProblem("Registration not allowed or user already exists", { status: 400 });
  }
  const salt = randomBytes(64);
  const iterations = vault.settings.passwordIterations;
  const hash = requiredText(body, "masterPasswordHash");
  const now = formatTimestamp(vault.nowMs());
  await replaceRow(vault, "users", {
    uuid: randomUUID(),
    created_at: now,
    updated_at: now,
    email,
    name: column(body["name"]) ?? email,
    password_hash: await pbkdf2(hash, salt, iterations, 32, "sha256"),
    salt,
    password_iterations: iterations,
    password_hint: column(body["masterPasswordHint"]),
    akey: column(userKey) ?? "",
    private_key: column(keys["encryptedPrivateKey"]),
    public_key: column(keys["publicKey"]),
    security_stamp: randomUUID(),
    equivalent_domains: "[]",
    excluded_globals: "[]",
    client_kdf_type: column(body["kdf"]) ?? 0,
    client_kdf_iter: column(body["kdfIterations"]) ?? 100_000,
  });
}

async function passwordLogin(vault: Vault, form: URLSearchParams): Promise<unknown> {
  const user = await findUser(vault, form.get("username") ?? "");
  if (user === undefined || !(await hasPassword(user, form.get("password") ?? ""))) {
    throw new HttpProblem("Username or password is incorrect. Try again", { status: 400 });
  }
  const deviceUuid = form.get("deviceIdentifier") ?? "";
  const known = await vault.pool.readOne(
    "SELECT * FROM devices WHERE uuid = ? AND user_uuid = ?",
    deviceUuid,
    user["uuid"] as SqlValue,
  );
  const now = formatTimestamp(vault.nowMs());
  const device: Row = {
    uuid: deviceUuid,
    created_at: known?.["created_at"] ?? now,
    updated_at: now,
    user_uuid: user["uuid"] as SqlValue,
    name: form.get("deviceName") ?? "unknown",
    atype: Number(form.get("deviceType") ?? 14),
    push_token: known?.["push_token"] ?? null,
    refresh_token: randomBytes(64).toString("base64url"),
    twofactor_remember: known?.["twofactor_remember"] ?? null,
    push_uuid: known?.["push_uuid"] ?? randomUUID(),
  };
  await replaceRow(vault, "devices", device);
  return tokenAnswer(vault, user, device);
}

/** Writes the device twice, as the server does. A write that fails logs the client out. */
async function refreshLogin(vault: Vault, form: URLSearchParams): Promise<unknown> {
  const device = await vault.pool.readOne(
    "SELECT * FROM devices WHERE refresh_token = ?",
    form.get("refresh_token") ?? "",
  );
  const user =
    device === undefined
      ? undefined
      : await vault.pool.readOne(
          "SELECT * FROM users WHERE uuid = ?",
          device["user_uuid"] as SqlValue,
        );
  if (device === undefined || user === undefined) {
    throw new HttpProblem("Unable to refresh login credentials", {
      status: 401,
      body: { error: "invalid_grant" },
    });
  }
  for (let save = 0; save < 2; save += 1) {
    try {
      await replaceRow(vault, "devices", {
        ...device,
        updated_at: formatTimestamp(vault.nowMs()),
      });
    } catch (error) {
      if (!isBusy(error) && (error as { code?: string }).code !== "SQLITE_READONLY") throw error;
      throw new HttpProblem("Unable to refresh login credentials", {
        status: 401,
        body: { error: "invalid_grant" },
        cause: error,
      });
    }
  }
  return tokenAnswer(vault, user, device);
}

function tokenAnswer(vault: Vault, user: Row, device: Row): unknown {
  const accessToken = signToken(vault.signingKey, {
    iss: issuer(vault, "login"),
    sub: user["uuid"] as string,
    exp: Math.floor(vault.nowMs() / 1000) + accessTokenSeconds,
    device: device["uuid"] as string,
    sstamp: user["security_stamp"] as string,
  });
  return {
    access_token: accessToken,
    expires_in: accessTokenSeconds,
    token_type: "Bearer",
    refresh_token: device["refresh_token"],
    Key: user["akey"],
    PrivateKey: user["private_key"],
    Kdf: user["client_kdf_type"],
    KdfIterations: user["client_kdf_iter"],
    KdfMemory: user["client_kdf_memory"],
    KdfParallelism: user["client_kdf_parallelism"],
    ResetMasterPassword: false,
    ForcePasswordReset: false,
    scope: "api offline_access",
  };
}

function findUser(vault: Vault, email: string): Promise<Row | undefined> {
  return vault.pool.readOne("SELECT * FROM users WHERE email = ?", email.trim().toLowerCase());
}

async function hasPassword(user: Row, password: string): Promise<boolean> {
  const stored = user["password_hash"] as Uint8Array;
  const hash = await pbkdf2(
    password,
    user["salt"] as Uint8Array,
    user["password_iterations"] as number,
    32,
    "sha256",
  );
  return stored.length === hash.length && timingSafeEqual(stored, hash);
}
