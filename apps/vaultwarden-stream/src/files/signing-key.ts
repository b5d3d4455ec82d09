import { generateKeyPair } from "node:crypto";
import { stat } from "node:fs/promises";
import { promisify } from "node:util";
import { writeDurably } from "../durable-file.ts";

/**
 * Makes the key that signs logins, as the server would at its first start (vaultwarden.md 5.3: RSA 2048, PKCS#1, mode 0644 less the umask). Ours
 * is there before the server is: so it is stored before anybody can log in, and no login depends on a file that was never saved.
 *
 * Durability point: when it resolves, the key survives a power cut.
 *
 * @returns whether there was none.
 */
export async function createSigningKey(path: string): Promise<boolean> {
  if (await exists(path)) return false;
  const { privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: 2048 });
  const pem = privateKey.export({ type: "pkcs1", format: "pem" });
  await writeDurably(path, pem, 0o644);
  return true;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
