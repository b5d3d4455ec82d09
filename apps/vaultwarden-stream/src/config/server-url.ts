import type { SettingLookup } from "./setting-lookup.ts";

/** Where the server answers on this machine. */
export interface ServerUrls {
  /** For people: `http://127.0.0.1:8000`. */
  readonly url: string;
  /** Answers 200 once the server is ready. */
  readonly aliveUrl: string;
}

export function findServerUrls(lookup: SettingLookup): ServerUrls {
  const scheme = lookup.plain("ROCKET_TLS") ? "https" : "http";
  const given = lookup.plain("ROCKET_ADDRESS") ?? "";
  // Whoever listens everywhere is asked on the loopback.
  const address = ["", "0.0.0.0", "::", "localhost"].includes(given) ? "127.0.0.1" : given;
  const port = /^\d{1,5}$/.exec(lookup.plain("ROCKET_PORT") ?? "")?.[0] ?? "8000";
  const url = `${scheme}://${address.includes(":") ? `[${address}]` : address}:${port}`;
  return { url, aliveUrl: `${url}${basePath(lookup)}/alive` };
}

/** All routes of the server are below the path of its public URL. */
function basePath(lookup: SettingLookup): string {
  const domain = lookup.text("DOMAIN");
  const path =
    lookup.text("DOMAIN_PATH") ??
    (domain !== undefined && URL.canParse(domain) ? new URL(domain).pathname : "");
  return path.replace(/\/+$/, "");
}
