import { CommandError, exitCodes } from "wal-replicator/command-line";
import type { ServerSettings } from "./server-settings.ts";

/** A `config.json` that came with a restore may not move what was restored already. @returns `after`. @throws {CommandError} `USAGE` */
export function requireSamePlaces(before: ServerSettings, after: ServerSettings): ServerSettings {
  const places = (settings: ServerSettings): string =>
    JSON.stringify([settings.database, settings.paths]);
  if (places(before) === places(after)) return after;
  throw new CommandError(
    "USAGE",
    {
      what: "the vault was restored, and its config.json moves its files elsewhere",
      why: `it says other paths than the environment: ${after.database} instead of ${before.database}, or other folders`,
      next: "set the same paths in the environment (DATA_FOLDER, DATABASE_URL, ATTACHMENTS_FOLDER …) and start again",
    },
    { exitCode: exitCodes.usage },
  );
}
