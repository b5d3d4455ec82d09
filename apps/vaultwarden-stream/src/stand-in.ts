import { fileURLToPath } from "node:url";
import type { ChildCommand } from "./daemon/child-command.ts";

/** The testkit's stand-in for Vaultwarden: there only in a checkout, and nothing for real secrets. */
export function standInServer(): ChildCommand {
  const entry = fileURLToPath(
    new URL("../../../packages/testkit/src/stand-in-main.ts", import.meta.url),
  );
  return {
    command: process.execPath,
    arguments: ["--conditions=@vaultwarden-stream/source", entry],
    description:
      "the stand-in vault of the testkit (no Vaultwarden was found): for trying out, not for real secrets",
  };
}
