/**
 * A process that behaves like Vaultwarden 1.37.2 towards its database, its files, its signals and its clients, for tests and for the demo.
 *
 * Not in it: organizations, two factors, mail, the admin page beyond its calls for `config.json` and backups, all jobs but the purge of
 * Sends, web vault, WebSockets, TLS, rate limits, and any verification that only a real password manager needs. SIGUSR1 before it listens
 * opens Node's inspector instead of killing it.
 *
 * Added for tests: `STAND_IN_UPLOAD_CHUNK_BYTES` and `STAND_IN_UPLOAD_CHUNK_MS` let a file grow slowly under its final name, and
 * `POST /stand-in/purge-sends` runs the hourly job at once.
 */
import { fileURLToPath } from "node:url";
import { type RunningChild, startTypeScriptChild } from "./child-process.ts";

/** The executable's source: run it with Node and `--conditions=@vaultwarden-stream/source`. */
export const standInEntry: string = fileURLToPath(new URL("./stand-in-main.ts", import.meta.url));

export interface StandInOptions {
  /** The server's own variables; nothing else of our environment is passed on. `ROCKET_PORT` 0 takes a free port. */
  readonly env: Readonly<Record<string, string>>;
  /** What relative paths in them start at. Default: the current directory. */
  readonly cwd?: string;
}

export interface StandIn extends RunningChild {
  /** From the ready line: `http://127.0.0.1:<port>`, without a base path. */
  readonly url: string;
  kill(signal: NodeJS.Signals): void;
}

/**
 * Starts the stand-in and resolves with its ready line.
 *
 * @throws {Error} with its exit code and output, if it ends before.
 */
export async function startStandIn(options: StandInOptions): Promise<StandIn> {
  const child = startTypeScriptChild(standInEntry, {
    onlyEnv: {
      PATH: process.env["PATH"] ?? "",
      I_REALLY_WANT_VOLATILE_STORAGE: "true",
      // What the real server stores more slowly is no less right, only late.
      PASSWORD_ITERATIONS: "1000",
      ...options.env,
    },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const launched = new Promise<string>((resolve) => {
    child.process.stdout?.on("data", () => {
      const url = /Rocket has launched from (\S+)\n/.exec(child.stdout())?.[1];
      if (url !== undefined) resolve(url);
    });
  });
  const death = child.exited.then((exit): never => {
    throw new Error(
      `the stand-in ended with ${exit.signal ?? `code ${exit.code}`} before it was ready: ${exit.stderr}`,
    );
  });
  const url = await Promise.race([launched, death]);
  return { ...child, url, kill: (signal) => void child.process.kill(signal) };
}
