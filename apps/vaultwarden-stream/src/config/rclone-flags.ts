import type { ConfigProblem } from "./config-problem.ts";
import type { Environment } from "./environment.ts";

/**
 * Options of rclone, which the predecessor stored its files with: `RCLONE_FLAGS`, and each flag also as `RCLONE_<FLAG>`. There is no
 * rclone any more. What promises that nothing is stored, or that it is stored encrypted, is refused; `--bwlimit` is honoured; all else only changed how
 * loud or fast it was.
 */
const refusedFlags: readonly RegExp[] = [
  /^-n$/,
  /^--dry-run$/,
  /^--config$/,
  /^--s3-env-auth$/,
  /^--s3-sse-/,
  /^--s3-server-side-encryption$/,
];

export function findRcloneProblems(environment: Environment): {
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
} {
  const names = Object.keys(environment).filter(
    (name) => name.startsWith("RCLONE_") && environment[name],
  );
  const refused = names.filter((name) => flagsOf(name, environment[name] ?? "").some(isRefused));
  const idle = names.filter(
    (name) => !refused.includes(name) && hasOtherFlags(name, environment[name] ?? ""),
  );
  return {
    errors: refused.map((name) => ({
      name,
      reason: "there is no rclone here, so what it asks for would not happen",
      remedy: "remove dry-run, config, env-auth, server-side-encryption and sse flags",
    })),
    warnings:
      idle.length === 0
        ? []
        : [
            {
              name: idle.join(", "),
              reason: "without effect, but for --bwlimit: there is no rclone here",
              remedy: "remove it, or leave it for the backups of a later release",
            },
          ],
  };
}

const bandwidthFlag = /(?:^|\s)--bwlimit(?:=|\s+)(\S+)/;

/** What `--bwlimit` says, and where; undefined: nothing does. */
export function findBandwidthLimit(
  environment: Environment,
): { readonly name: string; readonly text: string } | undefined {
  const text = environment["RCLONE_BWLIMIT"];
  if (text) return { name: "RCLONE_BWLIMIT", text };
  const inFlags = bandwidthFlag.exec(environment["RCLONE_FLAGS"] ?? "")?.[1];
  return inFlags === undefined ? undefined : { name: "RCLONE_FLAGS", text: inFlags };
}

function hasOtherFlags(name: string, text: string): boolean {
  if (name === "RCLONE_BWLIMIT") return false;
  return name !== "RCLONE_FLAGS" || text.replace(bandwidthFlag, "").trim() !== "";
}

function flagsOf(name: string, text: string): readonly string[] {
  if (name === "RCLONE_FLAGS") {
    return text.split(/\s+/).filter((flag) => !/=(false|0)$/i.test(flag));
  }
  if (/^(false|0)$/i.test(text)) return [];
  return [`--${name.slice("RCLONE_".length).toLowerCase().replaceAll("_", "-")}`];
}

function isRefused(flag: string): boolean {
  const [name = ""] = flag.split("=");
  return refusedFlags.some((pattern) => pattern.test(name));
}
