import type { Variable } from "./variable.ts";
import { variables } from "./variables.ts";

/** `.env.example`: every variable that exists, its default, what it means. All are commented out, so the file changes nothing as it is. */
export function renderEnvExample(): string {
  const lines = [
    "# Settings of vaultwarden-stream. Copy this file to .env and take the # from the lines that you change.",
    "# Made from the table in apps/vaultwarden-stream/src/config/variables.ts; do not edit it by hand.",
    "#",
    "# Every NAME can be given as NAME_FILE=<path> instead, a file that holds the value. Empty is the same as not set,",
    "# except for S3_PREFIX.",
    "# Everything else in the environment goes to Vaultwarden as it is: DATA_FOLDER, DOMAIN, ROCKET_PORT, ADMIN_TOKEN …",
  ];
  const groups = [...new Set(variables.map(({ group }) => group))];
  for (const group of groups) {
    lines.push("", `# --- ${group} ---`);
    for (const variable of variables.filter((candidate) => candidate.group === group)) {
      lines.push("", ...describe(variable));
    }
  }
  return `${lines.join("\n")}\n`;
}

function describe({ name, aliases, defaultText, accepts, meaning }: Variable): string[] {
  const also = aliases === undefined ? "" : ` Also: ${aliases.join(", ")}.`;
  return [`# ${meaning}`, `# Accepts: ${accepts}.${also}`, `#${name}=${defaultText ?? ""}`];
}
