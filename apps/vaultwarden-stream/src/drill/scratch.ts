import { mkdir, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes } from "wal-replicator/command-line";
import { identifyProcess, isRunning } from "../daemon/process-identity.ts";

/** There is no room for a drill, or no place. */
export class NoRoom extends Error {
  override readonly name = "NoRoom";
}

/**
 * A directory that a drill restores into, on the disk of the live data, and never to its harm: so much stays free. It holds a whole vault in the
 * open, so nobody but us may look into it, and it is removed in any case; what a killed drill left, by the next one.
 */
export class Scratch {
  readonly directory: string;
  readonly #reserveBytes: number;

  private constructor(directory: string, reserveBytes: number) {
    this.directory = directory;
    this.#reserveBytes = reserveBytes;
  }

  /** @param parent - is made if need be. */
  static async open(parent: string, reserveBytes: number): Promise<Scratch> {
    await mkdir(parent, { recursive: true, mode: 0o700 });
    await removeLeftovers(parent);
    const { pid, startedTicks } = identifyProcess(process.pid);
    // For us alone, whatever the umask.
    const directory = await mkdtemp(join(parent, `drill-${pid}-${startedTicks}-`));
    return new Scratch(directory, reserveBytes);
  }

  /** @throws {NoRoom} if the disk had less than the reserve left, were so many bytes written to it. */
  async require(bytes: number, what: string): Promise<void> {
    const { bavail, bsize } = await statfs(this.directory);
    const free = bavail * bsize;
    if (free >= bytes + this.#reserveBytes) return;
    throw new NoRoom(
      `${what} needs ${formatBytes(bytes)}, and of the ${formatBytes(free)} that are free ${formatBytes(this.#reserveBytes)} are left to the vault`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

const pattern = /^drill-(\d{1,10})-(\d{0,20})-[A-Za-z0-9]{6}$/;

async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const [, pid, startedTicks = ""] = pattern.exec(name) ?? [];
    if (pid === undefined) continue;
    const owner = { pid: Number(pid), startedTicks };
    if (!isRunning(owner)) await rm(join(parent, name), { recursive: true, force: true });
  }
}
