/** What all routes share: settings, database, key, clock, and who is asking. */
import type { KeyObject } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { HttpProblem } from "./http.ts";
import type { Pool, Row, SqlValue } from "./pool.ts";
import type { Settings } from "./settings.ts";
import { readToken } from "./signing-key.ts";

export interface Vault {
  settings: Settings;
  /** Takes over what the admin page has changed, as far as it holds before the next start: whether new accounts are allowed. */
  reloadSettings(): void;
  readonly pool: Pool;
  readonly signingKey: KeyObject;
  nowMs(): number;
}

/** The server's own version, and the Bitwarden version it answers with. */
export const serverVersion = "1.37.2";
export const emulatedVersion = "2025.12.0";

export function issuer(
  vault: Vault,
  purpose: "login" | "file_download" | "send" | "admin",
): string {
  return `${vault.settings.domainOrigin}|${purpose}`;
}

/** The row of the user that a request's token names. @throws {HttpProblem} 401 */
export async function authenticate(vault: Vault, request: IncomingMessage): Promise<Row> {
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
  const claims =
    token === undefined
      ? undefined
      : readToken(vault.signingKey, issuer(vault, "login"), token, vault.nowMs());
  if (claims === undefined) throw new HttpProblem("Invalid claim", { status: 401 });
  const device = await vault.pool.readOne(
    "SELECT uuid FROM devices WHERE uuid = ? AND user_uuid = ?",
    claims.device ?? "",
    claims.sub,
  );
  const user = await vault.pool.readOne("SELECT * FROM users WHERE uuid = ?", claims.sub);
  if (device === undefined || user === undefined || user["security_stamp"] !== claims.sstamp) {
    throw new HttpProblem("Invalid token", { status: 401 });
  }
  return user;
}

/** Changes an account's revision date: a commit of its own beside most changes, up to three times in one call. */
export async function touchUser(vault: Vault, userUuid: SqlValue): Promise<void> {
  await vault.pool.write(
    "UPDATE users SET updated_at = ? WHERE uuid = ?",
    formatTimestamp(vault.nowMs()),
    userUuid,
  );
}

/** The server's one way to save a row. @param row - column → value, the primary key first. */
export async function replaceRow(
  vault: Vault,
  table: string,
  row: Readonly<Record<string, SqlValue>>,
): Promise<void> {
  const columns = Object.keys(row);
  const marks = columns.map(() => "?").join(", ");
  try {
    await vault.pool.write(
      `REPLACE INTO ${table} (${columns.map((name) => `"${name}"`).join(", ")}) VALUES (${marks})`,
      ...Object.values(row),
    );
  } catch (error) {
    // A row that others refer to cannot always be replaced; the server updates it then.
    if (!String((error as { code?: string }).code).endsWith("FOREIGNKEY")) throw error;
    const [key, ...rest] = columns;
    await vault.pool.write(
      `UPDATE ${table} SET ${rest.map((name) => `"${name}" = ?`).join(", ")} WHERE "${key}" = ?`,
      ...rest.map((name) => row[name] as SqlValue),
      row[key as string] as SqlValue,
    );
  }
}

/** As diesel writes them: nanoseconds, UTC, no zone. */
export function formatTimestamp(timeMs: number): string {
  const nanoseconds = String(process.hrtime.bigint() % 1_000_000n).padStart(6, "0");
  return `${new Date(timeMs).toISOString().slice(0, 23).replace("T", " ")}${nanoseconds}`;
}

/** A stored timestamp as the API shows it. */
export function apiTimestamp(stored: SqlValue | undefined): string | null {
  if (typeof stored !== "string") return null;
  return `${stored.slice(0, 26).replace(" ", "T")}Z`;
}

/** A value of a request as the column for it takes it: text stays, absence becomes NULL, everything else is kept as JSON. */
export function column(value: unknown): SqlValue {
  if (value === undefined || value === null) return null;
  if (typeof value === "boolean") return Number(value);
  return typeof value === "string" || typeof value === "number" ? value : JSON.stringify(value);
}

/** @throws {HttpProblem} 400, if the field is not there. */
export function requiredText(body: Readonly<Record<string, unknown>>, name: string): string {
  const value = body[name];
  if (typeof value !== "string") throw new HttpProblem(`${name} is missing`, { status: 400 });
  return value;
}
