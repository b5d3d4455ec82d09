import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type RealS3Server,
  type S3PersonalityName,
  type S3ServerProcess,
  type S3ServerProcessOptions,
  type S3Target,
  startMinio,
  startS3ServerProcess,
  startVersityGw,
} from "@vaultwarden-stream/testkit";

/** A place for one replica, away from the processes that write there. */
export interface TestStore extends AsyncDisposable {
  /** Where the replica is: a path or a URL without credentials. Those are in this process's environment. */
  readonly replica: string;
  /** What steers a server of ours; undefined for all other stores. */
  readonly server: S3ServerProcess | undefined;
}

export type TestStoreName = "directory" | "minio" | "versitygw" | S3PersonalityName;

/** Starts a store in a process of its own (a directory needs none), with an empty place for a replica. */
export async function openTestStore(
  name: TestStoreName,
  options: Omit<S3ServerProcessOptions, "personality"> = {},
): Promise<TestStore> {
  if (name === "directory") return openDirectory();
  if (name === "minio" || name === "versitygw") {
    const real = await (name === "minio" ? startMinio() : startVersityGw());
    return { replica: s3Url(real), server: undefined, [Symbol.asyncDispose]: () => real.stop() };
  }
  const server = await startS3ServerProcess({ personality: name, ...options });
  return { replica: s3Url(server), server, [Symbol.asyncDispose]: () => server.stop() };
}

/** The URL of a replica on a server, whose credentials go into the environment, as an operator has them. */
export function s3Url(
  { endpoint, region, bucket, credentials }: S3Target & Pick<RealS3Server, "bucket">,
  prefix = "replica",
): string {
  process.env["AWS_ACCESS_KEY_ID"] = credentials.accessKeyId;
  process.env["AWS_SECRET_ACCESS_KEY"] = credentials.secretAccessKey;
  const query = new URLSearchParams({ endpoint, region, forcePathStyle: "true" });
  return `s3://${bucket}/${prefix}?${query.toString()}`;
}

function openDirectory(): TestStore {
  const directory = mkdtempSync(join(tmpdir(), "store-"));
  return {
    replica: join(directory, "replica"),
    server: undefined,
    [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
  };
}
