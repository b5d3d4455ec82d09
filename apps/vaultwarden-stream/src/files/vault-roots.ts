import { join } from "node:path";
import type { SyncRoot } from "@vaultwarden-stream/file-sync";
import type { Config } from "../config/config.ts";
import type { ServerPaths } from "../config/server-paths.ts";

/** Where the server keeps its files. */
export type VaultPaths = Omit<ServerPaths, "dataFolder">;

/** The roots of a vault have names of their own, wherever its settings put them: a restore finds them by name on any machine. */
export const rootNames = {
  attachments: "attachments",
  sends: "sends",
  iconCache: "icon_cache",
  rsaKey: "rsa_key.pem",
  configFile: "config.json",
  templates: "templates",
} as const;

/** Written by old releases, kept if present. */
const olderKeys = ["rsa_key.pub.pem", "rsa_key.der", "rsa_key.pub.der"] as const;

export function vaultRoots(paths: VaultPaths, include: Config["files"]["include"]): SyncRoot[] {
  const roots: SyncRoot[] = [];
  const add = (name: string, kind: SyncRoot["kind"], path: string | undefined): void => {
    if (path !== undefined) roots.push({ name, kind, path });
  };
  if (include.config) {
    // The key first: without it nobody stays logged in.
    add(rootNames.rsaKey, "file", paths.rsaKey);
    if (paths.rsaKey !== undefined) {
      const stem = paths.rsaKey.slice(0, -".pem".length);
      for (const name of olderKeys) add(name, "file", `${stem}${name.slice("rsa_key".length)}`);
    }
    add(rootNames.configFile, "file", paths.configFile);
    add(rootNames.templates, "directory", paths.templates);
  }
  if (include.attachments) add(rootNames.attachments, "directory", paths.attachments);
  if (include.sends) add(rootNames.sends, "directory", paths.sends);
  if (include.iconCache) add(rootNames.iconCache, "directory", paths.iconCache);
  return roots;
}

/** What is never looked into, even where one of the trees lies around it. The database is streamed, not copied. */
export function neverSynchronised(paths: VaultPaths, database: string): string[] {
  const beside = ["", "-wal", "-shm", "-journal"].map((suffix) => `${database}${suffix}`);
  const optional = [paths.logFile, paths.webVault].filter((path) => path !== undefined);
  return [...beside, paths.tmp, ...optional];
}

/** The same roots below another directory, as the server's defaults lay them out. */
export function vaultPathsIn(directory: string): VaultPaths {
  return {
    attachments: join(directory, "attachments"),
    sends: join(directory, "sends"),
    iconCache: join(directory, "icon_cache"),
    rsaKey: join(directory, "rsa_key.pem"),
    configFile: join(directory, "config.json"),
    templates: join(directory, "templates"),
    tmp: join(directory, "tmp"),
    logFile: undefined,
    webVault: undefined,
  };
}
