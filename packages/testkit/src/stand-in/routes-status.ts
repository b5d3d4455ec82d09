import type { Route } from "./http.ts";
import { purgeSends } from "./routes-sends.ts";
import { emulatedVersion, serverVersion, type Vault } from "./vault.ts";

/** `/alive`, what needs no login, and a call of ours for tests: `POST /stand-in/purge-sends` runs the hourly job now. */
export function statusRoutes(vault: Vault): Route[] {
  const alive: Route["handle"] = async () => {
    await vault.pool.check();
    return { json: new Date(vault.nowMs()).toISOString() };
  };
  return [
    { method: "GET", path: "/alive", handle: alive },
    { method: "GET", path: "/api/alive", handle: alive },
    {
      method: "GET",
      path: "/api/now",
      handle: async () => ({ json: new Date(vault.nowMs()).toISOString() }),
    },
    { method: "GET", path: "/api/version", handle: async () => ({ json: serverVersion }) },
    {
      method: "GET",
      path: "/api/config",
      handle: async () => ({
        json: {
          version: emulatedVersion,
          gitHash: null,
          server: { name: "Vaultwarden stand-in", url: null },
          environment: { vault: vault.settings.domainOrigin + vault.settings.basePath },
          object: "config",
        },
      }),
    },
    {
      method: "POST",
      path: "/stand-in/purge-sends",
      handle: async () => ({ json: { purged: await purgeSends(vault) } }),
    },
    {
      method: "GET",
      path: "/",
      handle: async () => ({
        text: "This is the stand-in for Vaultwarden of vaultwarden-stream's tests and demo. It is no password manager.\n",
      }),
    },
  ];
}
