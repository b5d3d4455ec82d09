import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { describePeer, findPeer, requirePeer } from "./find-peer.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "peers-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function makePeer(path: string, version: string): Promise<string> {
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, `#!/bin/sh\necho "${version}"\n`);
  await chmod(path, 0o755);
  return path;
}

describe("findPeer", () => {
  test("looks into PEERS_DIR before the path", async () => {
    const inPath = await makePeer(join(directory, "bin/rclone"), "rclone v1.0.0");
    expect(findPeer("rclone", { PATH: join(directory, "bin") })).toEqual({
      found: true,
      path: inPath,
      version: "1.0.0",
    });
    const inPeers = await makePeer(join(directory, "peers/rclone"), "rclone v1.76.0");
    expect(
      findPeer("rclone", { PATH: join(directory, "bin"), PEERS_DIR: join(directory, "peers") }),
    ).toEqual({ found: true, path: inPeers, version: "1.76.0" });
  });

  test("a wrong litestream does not hide the right one behind it", async () => {
    await makePeer(join(directory, "old/litestream"), "v0.3.13");
    const right = await makePeer(join(directory, "new/litestream"), "v0.5.18");
    const search = findPeer("litestream", { PATH: `${directory}/old:${directory}/new` });
    expect(search).toMatchObject({ found: true, path: right });
    expect(findPeer("litestream", { PATH: `${directory}/old` })).toEqual({
      found: false,
      reason: `${directory}/old/litestream is litestream 0.3.13, needed is 0.5.18`,
    });
  });

  test("takes a binary that does not know its version", async () => {
    const path = await makePeer(join(directory, "versitygw"), "Version  : git");
    expect(findPeer("versitygw", { PATH: directory })).toEqual({
      found: true,
      path,
      version: "Version  : git",
    });
  });

  test("a named binary is the only candidate", async () => {
    await makePeer(join(directory, "litestream"), "v0.5.18");
    const search = findPeer("litestream", { PATH: directory, LITESTREAM_BIN: "/nonexistent" });
    expect(search).toEqual({
      found: false,
      reason: "LITESTREAM_BIN=/nonexistent is no executable file",
    });
  });

  test("tells a broken binary from none", async () => {
    await writeFile(join(directory, "minio"), "#!/bin/sh\nexit 3\n", { mode: 0o755 });
    expect(findPeer("minio", { PATH: directory })).toMatchObject({
      reason: expect.stringContaining("fails: exit 3"),
    });
    expect(findPeer("minio", { PATH: "" })).toMatchObject({
      reason: expect.stringContaining("no minio"),
    });
    expect(() => requirePeer("minio", { PATH: "" })).toThrow(/no minio/);
  });
});

describe("describePeer", () => {
  test("skips with the reason locally, and fails in CI", () => {
    const skip = vi.fn();
    const run = Object.assign(vi.fn(), { skip });
    const body = vi.fn();
    describePeer(run, "minio", "against MinIO", body, { PATH: "" });
    expect(skip.mock.calls[0]?.[0]).toMatch(/against MinIO \(skipped: no minio/);
    expect(body).not.toHaveBeenCalled();
    expect(() =>
      describePeer(run, "minio", "against MinIO", body, { PATH: "", CI: "true" }),
    ).toThrow(/no minio/);
  });

  test("hands the path to the body where there is one", async () => {
    const path = await makePeer(join(directory, "minio"), "minio 1.2.3");
    const paths: string[] = [];
    const run = Object.assign((_name: string, body: () => void) => body(), { skip: vi.fn() });
    describePeer(run, "minio", "x", (found) => paths.push(found), { PATH: directory });
    expect(paths).toEqual([path]);
  });
});
