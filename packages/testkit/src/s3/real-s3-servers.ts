/** Real S3 servers as children, to hold our client, our server and our signatures against. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type RunningChild, startChild } from "../child-process.ts";
import { type PeerName, requirePeer } from "../find-peer.ts";
import { type S3Target, sendS3Request } from "./send-s3-request.ts";

/** A real server with an empty bucket. */
export interface RealS3Server extends S3Target {
  readonly bucket: string;
  /** Ends the process, waits for its end, and removes its data. */
  stop(): Promise<void>;
}

/**
 * Starts MinIO on a directory of its own.
 *
 * @throws {Error} if the peer is not there, or ends or stays silent instead of answering.
 */
export function startMinio(): Promise<RealS3Server> {
  return startRealServer("minio", (address, directory, { accessKeyId, secretAccessKey }) => ({
    arguments: ["server", "--quiet", "--address", address, directory],
    env: {
      MINIO_ROOT_USER: accessKeyId,
      MINIO_ROOT_PASSWORD: secretAccessKey,
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
    },
  }));
}

/**
 * Starts VersityGW over a directory of its own, whose file system must have extended attributes (`user.*`).
 *
 * @throws {Error} as `startMinio` does.
 */
export function startVersityGw(): Promise<RealS3Server> {
  return startRealServer("versitygw", (address, directory, { accessKeyId, secretAccessKey }) => ({
    arguments: ["--quiet", "--port", address, "posix", directory],
    env: { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
  }));
}

type Command = (
  address: string,
  directory: string,
  credentials: S3Target["credentials"],
) => { readonly arguments: readonly string[]; readonly env: Readonly<Record<string, string>> };

const readyWithinMs = 60_000;

/**
 * Runs a server until it ends or is told to by SIGTERM, and kills it when our end of the standard input is gone: a test that dies by
 * SIGKILL can leave no server behind.
 */
const guardScript = `
exec 3<&0
"$@" 3<&- &
server=$!
{ cat <&3; kill -KILL $server; } >/dev/null 2>&1 &
guard=$!
trap 'kill -TERM $server' TERM
wait $server
wait $server
kill $guard
`;

async function startRealServer(name: PeerName, command: Command): Promise<RealS3Server> {
  const path = requirePeer(name);
  const directory = await mkdtemp(join(tmpdir(), `${name}-`));
  const credentials = {
    accessKeyId: `test${randomBytes(8).toString("hex")}`,
    secretAccessKey: randomBytes(20).toString("hex"),
  };
  const address = `127.0.0.1:${await findFreePort()}`;
  const { arguments: commandArguments, env } = command(address, directory, credentials);
  const child = startChild(
    "/bin/sh",
    ["-c", guardScript, "sh", path, ...commandArguments],
    // Its own settings only: nothing of ours may change what the server does.
    { onlyEnv: { PATH: process.env["PATH"] ?? "", HOME: directory, ...env }, cwd: directory },
    ["pipe", "pipe", "pipe"],
  );
  const stop = async (): Promise<void> => {
    await endChild(child);
    await rm(directory, { recursive: true, force: true });
  };
  const target = { endpoint: `http://${address}`, region: "us-east-1", credentials };
  const bucket = "test-bucket";
  try {
    await createBucket(name, target, bucket, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { ...target, bucket, stop };
}

/** The first request that succeeds: the server is ready when it has the bucket. */
async function createBucket(
  name: PeerName,
  target: S3Target,
  bucket: string,
  child: RunningChild,
): Promise<void> {
  let hasExited = false;
  void child.exited.then(() => {
    hasExited = true;
  });
  const deadline = Date.now() + readyWithinMs;
  let last = "no answer";
  while (!hasExited && Date.now() < deadline) {
    try {
      const answer = await sendS3Request(target, { method: "PUT", path: `/${bucket}` });
      if (answer.status === 200) return;
      last = `${answer.status} ${answer.body.toString()}`;
      // 503 is a server that is still starting; everything else will not get better.
      if (answer.status !== 503) break;
    } catch (error) {
      // Not listening yet. A child that never will is told by its exit or by the deadline.
      last = String(error);
    }
    await delay(50);
  }
  throw new Error(
    `${name} is not ready: ${hasExited ? "it has ended" : last}\n${child.stderr()}${child.stdout()}`,
  );
}

async function endChild(child: RunningChild): Promise<void> {
  child.process.kill("SIGTERM");
  const patience = new AbortController();
  const hasEnded = await Promise.race([
    child.exited.then(() => true),
    delay(5000, false, { signal: patience.signal }).catch(() => false),
  ]);
  patience.abort();
  if (!hasEnded) child.process.kill("SIGKILL");
  await child.exited;
}

/** Free when we looked: the servers cannot be asked for a port of their choice. */
function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
