import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SyncRoot } from "@vaultwarden-stream/file-sync";

export interface Places {
  readonly root: SyncRoot;
  /** Where its tree is built. */
  readonly incoming: string;
  /** Where what it replaces goes. */
  readonly aside: string;
}

/**
 * Where a restored tree is built, and where what it replaces goes: beside the live one, or inside it where that is a mount point, which cannot be
 * renamed and beside which another file system may lie. Never looked into by the synchronisation. The directories that hold them are made.
 *
 * @param suffix - of what is kept aside, the same as the database's: `.aside-20261124T215421123Z`.
 */
export async function treePlaces(roots: readonly SyncRoot[], suffix: string): Promise<Places[]> {
  const mountPoints = await readMountPoints();
  const places = roots.map((root) => {
    const isMount = root.kind === "directory" && mountPoints.has(root.path);
    const stem = isMount ? join(root.path, insideMark) : root.path;
    return { root, incoming: `${stem}${incomingSuffix}`, aside: `${stem}${suffix}` };
  });
  for (const { incoming } of places) await mkdir(dirname(incoming), { recursive: true });
  return places;
}

const insideMark = ".restore";
const incomingSuffix = ".incoming";

/** Whether a name inside a tree is ours, from a restore, and not the vault's. */
export function isRestoreName(name: string): boolean {
  return name.startsWith(insideMark);
}

/** On machines that have no such file, nothing is mounted by the rules of containers. */
async function readMountPoints(): Promise<ReadonlySet<string>> {
  let text: string;
  try {
    text = await readFile("/proc/self/mountinfo", "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Set();
    throw error;
  }
  return parseMountPoints(text);
}

/** The fifth field of each line (proc_pid_mountinfo(5)); spaces and backslashes are written as three octal digits. */
export function parseMountPoints(mountinfo: string): Set<string> {
  const points = new Set<string>();
  for (const line of mountinfo.split("\n")) {
    const point = line.split(" ")[4];
    if (point === undefined) continue;
    points.add(
      point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    );
  }
  return points;
}
