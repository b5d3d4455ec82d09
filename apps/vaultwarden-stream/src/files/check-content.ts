import { createPrivateKey } from "node:crypto";
import { rootNames } from "./vault-roots.ts";

/**
 * What small files must be before they are stored: a torn copy of either would do harm after a restore (vaultwarden.md 5.2, 5.3). The
 * server ignores a `config.json` that it cannot read, without a word, and with it whoever may sign up; a bad key ends every login.
 *
 * By the name of the root. Each gets the very bytes that would be stored, and says what is wrong with them.
 */
export const contentChecks: ReadonlyMap<string, (bytes: Uint8Array) => string | undefined> =
  new Map([
    [rootNames.rsaKey, checkKey],
    [rootNames.configFile, checkConfig],
  ]);

function checkKey(bytes: Uint8Array): string | undefined {
  try {
    createPrivateKey(Buffer.from(bytes));
    return undefined;
  } catch {
    // Not the cause's words: they could quote the key.
    return "it is not a private key";
  }
}

function checkConfig(bytes: Uint8Array): string | undefined {
  try {
    const parsed: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    const isObject = typeof parsed === "object" && parsed !== null && !Array.isArray(parsed);
    return isObject ? undefined : "it is not a JSON object";
  } catch {
    return "it is not JSON: it may be half written";
  }
}
