/** The admin page's calls: a session by the token, `config.json` saved and deleted, the backup. Without `ADMIN_TOKEN` there are none. */
import { rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { backUpDatabase } from "./backup.ts";
import { writeConfigFile } from "./config-file.ts";
import { HttpProblem, type Route, readForm, readJson } from "./http.ts";
import { readToken, signToken } from "./signing-key.ts";
import { issuer, type Vault } from "./vault.ts";

const sessionSeconds = 20 * 60;

export function adminRoutes(vault: Vault): Route[] {
  const { adminToken, basePath, configPath } = vault.settings;
  if (adminToken === undefined) return [];
  return [
    {
      method: "POST",
      path: "/admin",
      handle: async ({ request }) => {
        if ((await readForm(request)).get("token") !== adminToken) {
          throw new HttpProblem("Invalid admin token, please try again.", { status: 401 });
        }
        const exp = Math.floor(vault.nowMs() / 1000) + sessionSeconds;
        const claims = { iss: issuer(vault, "admin"), sub: "admin_panel", exp };
        const cookie = `VW_ADMIN=${signToken(vault.signingKey, claims)}; HttpOnly; SameSite=Strict; Path=${basePath}/admin; Max-Age=${sessionSeconds}`;
        return {
          text: "",
          status: 303,
          headers: { location: `${basePath}/admin`, "set-cookie": cookie },
        };
      },
    },
    {
      method: "POST",
      path: "/admin/config",
      handle: async ({ request }) => {
        requireSession(vault, request);
        try {
          await writeConfigFile(configPath, await readJson(request));
        } catch (cause) {
          if (!(cause instanceof TypeError)) throw cause;
          throw new HttpProblem(cause.message, { status: 422, cause });
        }
        vault.reloadSettings();
        return { text: "" };
      },
    },
    {
      method: "POST",
      path: "/admin/config/delete",
      handle: async ({ request }) => {
        requireSession(vault, request);
        await rm(configPath, { force: true });
        vault.reloadSettings();
        return { text: "" };
      },
    },
    {
      method: "POST",
      path: "/admin/config/backup_db",
      handle: async ({ request }) => {
        requireSession(vault, request);
        const path = backUpDatabase(vault.settings, vault.nowMs());
        return { text: `Backup to '${path}' was successful` };
      },
    },
  ];
}

/** @throws {HttpProblem} 401 */
function requireSession(vault: Vault, request: IncomingMessage): void {
  const token = /(?:^|;\s*)VW_ADMIN=([^;]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  if (readToken(vault.signingKey, issuer(vault, "admin"), token, vault.nowMs()) === undefined) {
    throw new HttpProblem("Unauthorized", { status: 401 });
  }
}
