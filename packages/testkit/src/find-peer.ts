import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Programs that tests compare us with. They are never needed to run, and never downloaded by us. */
export type PeerName = "litestream" | "rclone" | "sqlite3" | "vaultwarden" | "minio" | "versitygw";

/** A found peer, or the reason why there is none, for the message of a skipped test. */
export type PeerSearch =
  | { readonly found: true; readonly path: string; readonly version: string }
  | { readonly found: false; readonly reason: string };

type Environment = Readonly<Record<string, string | undefined>>;

/** Peers whose output we pin down to the byte or the request are accepted in one version only. */
const peers: Readonly<Record<PeerName, { versionArguments: readonly string[]; version?: string }>> =
  {
    litestream: { versionArguments: ["version"], version: "0.5.18" },
    rclone: { versionArguments: ["version"] },
    sqlite3: { versionArguments: ["--version"] },
    vaultwarden: { versionArguments: ["--version"] },
    minio: { versionArguments: ["--version"] },
    // Built by `go install`, it does not know its own version: `.ci/run` pins it.
    versitygw: { versionArguments: ["--version"] },
  };

/**
 * Looks for a peer: in `<NAME>_BIN` (which must hold if it is set), then in `PEERS_DIR`, then in the path. It is run once for its version.
 *
 * Litestream is accepted as v0.5.18 only.
 */
export function findPeer(name: PeerName, environment: Environment = process.env): PeerSearch {
  const variable = `${name.toUpperCase()}_BIN`;
  const named = environment[variable];
  if (named !== undefined && named !== "") {
    if (!isExecutable(named)) {
      return { found: false, reason: `${variable}=${named} is no executable file` };
    }
    return checkVersion(name, named, environment);
  }
  const peersDirectory = environment["PEERS_DIR"];
  const directories = [
    ...(peersDirectory === undefined || peersDirectory === ""
      ? []
      : [peersDirectory, join(peersDirectory, name)]),
    ...(environment["PATH"] ?? "").split(delimiter).filter((directory) => directory !== ""),
  ];
  // A wrong version early in the search does not hide the right one behind it.
  let refused: PeerSearch | undefined;
  for (const directory of directories) {
    const path = join(directory, name);
    if (!isExecutable(path)) continue;
    const search = checkVersion(name, path, environment);
    if (search.found) return search;
    refused ??= search;
  }
  return (
    refused ?? {
      found: false,
      reason: `no ${name}: set ${variable} or PEERS_DIR, or put it into the path`,
    }
  );
}

/**
 * The path of a peer that this run cannot do without.
 *
 * @throws {Error} with the reason if it is not there.
 */
export function requirePeer(name: PeerName, environment: Environment = process.env): string {
  const search = findPeer(name, environment);
  if (!search.found) throw new Error(search.reason);
  return search.path;
}

/** The part of vitest's `describe` that `describePeer` needs; it is passed in so that this package runs outside of tests too. */
export interface DescribeFunction {
  (name: string, body: () => void): unknown;
  readonly skip: (name: string, body: () => void) => unknown;
}

/**
 * Defines tests that need a peer. Without it they are skipped with the reason in their name; with `CI=true` that is a failure,
 * so that a runner that lost a peer is noticed.
 *
 * @param describe - vitest's own.
 * @throws {Error} with the reason, if the peer is missing and `CI` is `true`.
 */
export function describePeer(
  describe: DescribeFunction,
  peer: PeerName,
  name: string,
  body: (path: string) => void,
  environment: Environment = process.env,
): void {
  const search = findPeer(peer, environment);
  if (search.found) {
    describe(name, () => body(search.path));
    return;
  }
  if (environment["CI"] === "true") throw new Error(`${name}: ${search.reason}`);
  // The body is not called: collecting it would need a path.
  describe.skip(`${name} (skipped: ${search.reason})`, () => {});
}

function checkVersion(name: PeerName, path: string, environment: Environment): PeerSearch {
  const peer = peers[name];
  const run = spawnSync(path, [...peer.versionArguments], {
    encoding: "utf8",
    timeout: 20_000,
    env: { ...environment },
  });
  if (run.error !== undefined || run.status !== 0) {
    const why = run.error?.message ?? `exit ${run.signal ?? run.status}`;
    return { found: false, reason: `${path} ${peer.versionArguments.join(" ")} fails: ${why}` };
  }
  const version = /\d+\.\d+(\.\d+)*/.exec(run.stdout)?.[0] ?? run.stdout.trim();
  if (peer.version !== undefined && version !== peer.version) {
    return {
      found: false,
      reason: `${path} is ${name} ${version || "of unknown version"}, needed is ${peer.version}`,
    };
  }
  return { found: true, path, version };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // Absent, or not for us: either way there is nothing here to run.
    return false;
  }
}
