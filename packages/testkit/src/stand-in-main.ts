/**
 * The stand-in for Vaultwarden as an executable: configured by the server's environment variables, and of its behaviour to everything around
 * it. With `backup` it makes the server's own backup, with `--version` it says its version.
 */
import { backUpDatabase } from "./stand-in/backup.ts";
import { runServer } from "./stand-in/server.ts";
import { readSettings, StartFailure } from "./stand-in/settings.ts";
import { serverVersion } from "./stand-in/vault.ts";

const [command] = process.argv.slice(2);
try {
  if (command === "--version" || command === "-v") {
    process.stdout.write(`vaultwarden ${serverVersion} (stand-in)\n`);
  } else if (command === "backup") {
    const path = backUpDatabase(readSettings(process.env), Date.now());
    process.stdout.write(`Backup to '${path}' was successful\n`);
  } else {
    await runServer(process.env);
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof StartFailure ? error.exitCode : 1);
}
