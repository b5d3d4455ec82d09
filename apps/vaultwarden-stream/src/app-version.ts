import { readFileSync } from "node:fs";

/** Of vaultwarden-stream, from its package.json: beside the sources, and beside the bundle. */
export function appVersion(): string {
  const url = new URL("../package.json", import.meta.url);
  return (JSON.parse(readFileSync(url, "utf8")) as { version: string }).version;
}
