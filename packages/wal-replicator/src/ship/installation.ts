import { readFileSync } from "node:fs";
import type { Spool } from "./spool.ts";

/**
 * Which installation this is: the machine, and this very spool directory on it. A copy of the volume has another inode or
 * another time of birth, so two copies started side by side are told apart.
 */
export interface Installation {
  /** `/etc/machine-id`; empty where there is none, as in most containers: then the spool's identity alone decides. */
  readonly hostId: string;
  readonly spoolInode: string;
  /** Nanoseconds since the Unix epoch, as text. */
  readonly spoolBornAt: string;
}

export function thisInstallation(spool: Spool): Installation {
  return { hostId: readHostId(), ...spool.identity() };
}

function readHostId(): string {
  try {
    return readFileSync("/etc/machine-id", "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
