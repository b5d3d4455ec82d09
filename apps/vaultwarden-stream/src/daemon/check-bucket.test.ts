import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startS3Server, startTypeScriptChild } from "@vaultwarden-stream/testkit";
import { expect, it } from "vitest";

const main = fileURLToPath(new URL("../main.ts", import.meta.url));

it("asks the bucket before anything else where S3_NO_CHECK_BUCKET=false, and starts nothing without its answer", async () => {
  const directory = mkdtempSync(join(tmpdir(), "check-bucket-"));
  const server = await startS3Server();
  try {
    const { code, stderr } = await startTypeScriptChild(main, {
      arguments: ["run"],
      cwd: directory,
      onlyEnv: {
        DATA_FOLDER: directory,
        VAULTWARDEN_BIN: "/bin/true",
        S3_BUCKET: "no-such-bucket",
        S3_ENDPOINT: server.endpoint,
        S3_REGION: server.region,
        S3_ACCESS_KEY_ID: server.credentials.accessKeyId,
        S3_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
        S3_NO_CHECK_BUCKET: "false",
      },
    }).exited;
    expect(stderr).toContain("bucket");
    expect(code).toBe(6);
    expect(server.requests.map(({ operation, key }) => [operation, key])).toEqual([
      ["ListObjects", "vaultwarden/"],
    ]);
    expect(readdirSync(directory)).toEqual([".db.sqlite3-stream"]);
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});
