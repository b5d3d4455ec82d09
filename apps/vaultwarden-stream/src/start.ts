import { resolve } from "node:path";
import { describeFailure, formatFailure, processStreams } from "wal-replicator/command-line";
import { runVault } from "./commands/run.ts";
import type { Environment } from "./config/config.ts";
import { findChildCommand } from "./daemon/child-command.ts";
import { findFreePort } from "./free-port.ts";
import { standInServer } from "./stand-in.ts";

/**
 * `pnpm start`: the daemon of `run` with everything defaulted, in a checkout. What is set in the environment stays as it is set.
 */
const standardPort = 8000;

async function start(environment: Environment): Promise<number> {
  const streams = processStreams();
  const say = (text: string): boolean => streams.stderr.write(`[start] ${text}\n`);
  const [given] = ["STORE_DIR", "S3_BUCKET"].flatMap(
    (name) => environment[name] || environment[`${name}_FILE`] || [],
  );
  const store = resolve("data/store");
  const data =
    environment["DATA_FOLDER"] || environment["DATA_FOLDER_FILE"] || resolve("data/vault");
  const standIn = standInServer();
  try {
    const server = findChildCommand(
      environment["VAULTWARDEN_BIN"] || undefined,
      environment,
      standIn,
    );
    say(`vault: ${server.description}`);
    say(`data:  ${data}`);
    say(`store: ${given ?? store}, where every change of the database arrives within a second`);
    const port = environment["ROCKET_PORT"] || String(await choosePort(say));
    say("Ctrl-C ends it cleanly; the next start goes on where this one ended");
    return await runVault(
      {
        ...environment,
        ...(given === undefined ? { STORE_DIR: store } : {}),
        ...(environment["DATA_FOLDER_FILE"] ? {} : { DATA_FOLDER: data }),
        ROCKET_PORT: port,
      },
      streams,
      { standIn },
    );
  } catch (error) {
    const failure = describeFailure(error, "start");
    streams.stderr.write(formatFailure(failure, "start"));
    return failure.exitCode;
  }
}

async function choosePort(say: (text: string) => void): Promise<number> {
  const port = await findFreePort(standardPort);
  if (port !== standardPort) say(`port ${standardPort} is taken: the vault will listen on ${port}`);
  return port;
}

process.exit(await start(process.env));
