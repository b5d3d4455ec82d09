import { join } from "node:path";
import { readIfExists, writeWhole } from "../durable-file.ts";
import { type Installation, thisInstallation } from "./installation.ts";
import type { Spool } from "./spool.ts";

/**
 * Which epochs a spool asked for: their nonces, newest last, in `<spool>/nonces.json`.
 *
 * A nonce is noted before its epoch is taken, so that a crash in between leaves an epoch that is known as ours. The file names the
 * installation that wrote it: a copy of the volume has another identity, and does not take the original's epochs for its own. A clone of
 * the whole disk has the same identity, but lacks what the original noted since.
 */
interface NonceFile {
  readonly installation: Installation;
  readonly nonces: readonly string[];
}

const nonceCountMax = 16;

/** Durable when it resolves. */
export async function noteNonces(spool: Spool, added: readonly string[]): Promise<void> {
  const content: NonceFile = {
    installation: thisInstallation(spool),
    nonces: [...new Set([...(await readNonces(spool)), ...added])].slice(-nonceCountMax),
  };
  await writeWhole(join(spool.directory, "nonces.json"), [JSON.stringify(content)]);
}

/** Those that this very spool noted. A file that cannot be read knows none: an epoch is then a stranger's, which costs a wait and never data. */
export async function readNonces(spool: Spool): Promise<readonly string[]> {
  const bytes = await readIfExists(join(spool.directory, "nonces.json"));
  if (bytes === undefined) return [];
  const self = thisInstallation(spool);
  let content: Partial<NonceFile> | null;
  try {
    content = JSON.parse(bytes.toString("utf8")) as Partial<NonceFile> | null;
  } catch {
    return [];
  }
  const { hostId, spoolInode, spoolBornAt } = content?.installation ?? {};
  const isOwn =
    hostId === self.hostId && spoolInode === self.spoolInode && spoolBornAt === self.spoolBornAt;
  if (!isOwn || !Array.isArray(content?.nonces)) return [];
  return content.nonces.filter((nonce) => /^[0-9a-f]{32}$/.test(String(nonce)));
}
