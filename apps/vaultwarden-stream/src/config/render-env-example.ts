import { type ServerVariable, serverVariables } from "./server-variables.ts";
import type { Variable } from "./variable.ts";
import { variables } from "./variables.ts";

/**
 * `.env.example`: every variable of ours and of the server, its default and what it means. All are commented out, so the file changes nothing
 * as it is; and to the server an empty text is a value, so what is unset has to stay so.
 */
export function renderEnvExample(): string {
  return `${[...renderOurs(), "", ...renderServers()].join("\n")}\n`;
}

function renderOurs(): readonly string[] {
  const lines = [
    "# Settings of vaultwarden-stream. Copy this file to .env and take the # from the lines that you change.",
    "# Made from the tables in apps/vaultwarden-stream/src/config; do not edit it by hand.",
    "#",
    "# Every NAME of ours can be given as NAME_FILE=<path> instead, a file that holds the value: best for secrets, which",
    "# whoever may look at processes can read otherwise. Empty is the same as not set, except for S3_PREFIX.",
  ];
  for (const [group, members] of Object.entries(Object.groupBy(variables, (of) => of.group))) {
    lines.push("", `# --- ${group} ---`);
    for (const variable of members ?? []) lines.push("", ...describe(variable));
  }
  return lines;
}

function describe({
  name,
  aliases = [],
  oldNames = [],
  defaultText,
  accepts,
  meaning,
}: Variable): readonly string[] {
  const names = [...aliases, ...oldNames];
  const also = names.length === 0 ? "" : ` Also: ${names.join(", ")}.`;
  return [`# ${meaning}`, `# Accepts: ${accepts}.${also}`, `#${name}=${defaultText ?? ""}`];
}

function renderServers(): readonly string[] {
  const lines = [
    "# ==========================================================================================",
    "# Settings of Vaultwarden 1.37.2. They go to it as they are, and so does everything else that is not ours.",
    "#",
    "# To it an empty text is a value, not an absence: leave the # where nothing shall be set. Paths are as in the image.",
    "# NAME_FILE works here too, but not for ROCKET_*, TZ and UMASK. Schedules: seconds first, UTC, blank is off.",
    "# What the admin page has saved (config.json) wins over these lines.",
  ];
  let [lastGroup, lastMeaning] = ["", ""];
  for (const [index, variable] of serverVariables.entries()) {
    const { name, group, meaning, defaultText } = variable;
    if (group !== lastGroup) lines.push("", `# --- Vaultwarden: ${group} ---`);
    if (meaning !== lastMeaning) lines.push("", `# ${meaning}${inAdminPage(index)}`);
    lines.push(`#${name}=${defaultText ?? ""}`);
    [lastGroup, lastMeaning] = [group, meaning];
  }
  return lines;
}

/** Which of those that share the text from `index` on can be changed in the admin page. */
function inAdminPage(index: number): string {
  const { meaning } = serverVariables[index] as ServerVariable;
  const together = serverVariables.filter((variable) => variable.meaning === meaning);
  const editable = together.filter(({ isEditable }) => isEditable);
  if (editable.length === 0) return "";
  if (editable.length === together.length) return " (admin page)";
  return ` (admin page: ${editable.map(({ name }) => name).join(", ")})`;
}
