import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { describeDocker, docker, tryDocker } from "./docker.ts";
import { buildImages, image, imageWithStandIn } from "./images.ts";
import { itemNames, VaultContainer } from "./vault-container.ts";

// Goal: what people run. The image is built as the Dockerfile says and run by a real engine; only the server in it is the stand-in.

const hardened = [
  ...["--user", "1000:1000", "--read-only", "--tmpfs", "/tmp"],
  ...["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
];

describeDocker("the image", () => {
  let s3: S3Server;
  beforeAll(buildImages);
  afterAll(() => tryDocker("rmi", imageWithStandIn, image)); // only the names: what was built stays in the engine's cache
  beforeEach(async () => {
    s3 = await startS3Server();
  });
  afterEach(() => s3.stop());

  describe("a vault in it", () => {
    it("is brought back in a new container on an empty disk, after the first was destroyed", async () => {
      await using first = await VaultContainer.start(s3);
      const ann = await first.register();
      for (const name of ["bank", "mail", "shop"]) await ann.createItem({ name });
      await first.untilStored();
      await first.container.destroy();
      s3.advanceClock(240_000); // the destroyed one's lease is stale
      await using second = await VaultContainer.start(s3);
      expect(await itemNames(await second.login())).toEqual(["bank", "mail", "shop"]);
    });

    it("ends with 0 at `docker stop`, with everything stored and its place given up", async () => {
      await using first = await VaultContainer.start(s3);
      const ann = await first.register();
      for (const name of ["bank", "mail"]) await ann.createItem({ name });
      await docker("stop", "--time", "120", first.container.name);
      expect(await first.container.ended(), await first.container.log()).toBe(0);
      await docker("rm", "--volumes", first.container.name);
      await using second = await VaultContainer.start(s3); // waits for nobody
      expect(await itemNames(await second.login())).toEqual(["bank", "mail"]);
    });

    it("goes on when its container is started again after a kill, as a restart policy does it", async () => {
      await using vault = await VaultContainer.start(s3);
      await (await vault.register()).createItem({ name: "bank" });
      await docker("kill", vault.container.name);
      await docker("start", vault.container.name);
      await vault.container.until(
        "it listens again",
        async () => (await vault.container.log()).split("the vault listens on").length === 3,
      );
      expect(await itemNames(await vault.login())).toEqual(["bank"]);
    });

    it("runs as any user, on a root file system that is read only, without privileges", async () => {
      await using vault = await VaultContainer.start(s3, hardened);
      const ann = await vault.register();
      await ann.createItem({ name: "bank" });
      await vault.untilStored();
      const { stdout } = await vault.container.exec("stat", "--format=%u:%g", "/data/db.sqlite3");
      expect(stdout).toBe("1000:1000\n");
      expect(await itemNames(ann)).toEqual(["bank"]);
    });

    it("is healthy by its own check, also for those who call the old path, until its server hangs", async () => {
      const often = ["--health-interval", "1s", "--health-retries", "1"];
      await using vault = await VaultContainer.start(s3, [...hardened, ...often]);
      const { container } = vault;
      const isFound = async (health: string): Promise<boolean> =>
        (await container.inspect("{{.State.Health.Status}}")) === health;
      await container.logged("the vault listens on");
      await container.until("it is healthy", () => isFound("healthy"));
      expect(await container.exec("/app/healthcheck.sh")).toEqual({
        code: 0,
        stdout: "OK\n",
        stderr: "",
      });
      const { serverPid } = await vault.status();
      await container.exec("sh", "-c", `kill -STOP ${serverPid}`);
      await container.until("it is unhealthy", () => isFound("unhealthy"));
    });

    it("ends with its daemon: no server is left that takes what nobody stores", async () => {
      await using vault = await VaultContainer.start(s3);
      await vault.container.logged("the vault listens on");
      const { pid } = await vault.status();
      await vault.container.exec("sh", "-c", `kill -KILL ${pid}`);
      expect(await vault.container.ended()).toBe(137);
      await expect(fetch(vault.url)).rejects.toThrow();
    });

    it("is started as the base image starts it, and gets no credential of ours", async () => {
      await using vault = await VaultContainer.start(s3);
      await vault.container.logged(": /start.sh");
      await vault.container.logged("the vault listens on");
      const { serverPid } = await vault.status();
      const { stdout } = await vault.container.exec("cat", `/proc/${serverPid}/environ`);
      expect(stdout).toContain("I_REALLY_WANT_VOLATILE_STORAGE=true");
      expect(stdout).not.toContain("S3_");
    });

    it("has its orphans reaped", async () => {
      await using vault = await VaultContainer.start(s3);
      // What a hook or a health check that ran out of time leaves behind: its parent is gone before it.
      const { stdout } = await vault.container.exec("sh", "-c", "sleep 0.5 >/dev/null & echo $!");
      await vault.container.until(
        "the orphan is gone",
        async () => (await vault.container.exec("test", "-e", `/proc/${stdout.trim()}`)).code === 1,
      );
    });
  });

  describe("its commands", () => {
    it.each([
      { flags: [], command: ["--version"] },
      { flags: [], command: ["vaultwarden-stream", "--version"] },
      { flags: [], command: ["wal-replicator", "--version"] },
      { flags: ["--entrypoint", "wal-replicator"], command: ["--version"] },
      { flags: ["--user", "1234:1234", "--read-only"], command: ["--version"] },
    ])("$flags $command says the version", async ({ flags, command }) => {
      expect(await runToEnd(flags, command)).toEqual({ code: 0, stdout: "0.1.0\n", stderr: "" });
    });

    it.each([
      { flags: [], command: [] },
      { flags: [], command: ["/app/entrypoint.sh"] },
      { flags: ["--entrypoint", "/app/entrypoint.sh"], command: [] },
    ])("$flags $command runs the daemon, which says what it lacks", async ({ flags, command }) => {
      const { code, stderr } = await runToEnd(flags, command);
      expect(stderr).toContain("S3_BUCKET");
      expect(code).toBe(2);
    });

    it("are those of the vault unless they are programs", async () => {
      expect((await runToEnd([], ["restroe"])).stderr).toContain("restore");
      expect((await runToEnd([], ["sh", "-c", "exit 7"])).code).toBe(7);
    });
  });

  describe("its content", () => {
    it("is the bundle, two native modules and Node, with nothing of the workshop", async () => {
      const { stdout } = await runToEnd([], ["find", "/app", "-type", "f"]);
      const files = stdout.trim().split("\n");
      expect(files).toContain("/app/dist/main.mjs");
      const expected = [
        /^\/app\/(entrypoint|healthcheck)\.sh$/,
        /^\/app\/package\.json$/,
        /^\/app\/dist\/[^/]+\.mjs$/,
        /^\/app\/licences\/[^/]+\.txt$|^\/app\/licences\/LICENSE$/,
        /^\/app\/node_modules\/better-sqlite3\/(package\.json|LICENSE|lib\/.*\.js|prebuilds\/linux-(x64|arm64)\.node)$/,
        /^\/app\/node_modules\/lz4-napi\/(package\.json|LICENSE|index\.js)$/,
        /^\/app\/node_modules\/@antoniomuso\/lz4-napi-linux-(x64|arm64)-gnu\/(package\.json|lz4-napi\.linux-(x64|arm64)-gnu\.node)$/,
      ];
      expect(files.filter((file) => !expected.some((pattern) => pattern.test(file)))).toEqual([]);
      expect(files.filter((file) => file.endsWith(".node"))).toHaveLength(2);
    });

    it("has every process and thread that the engine starts from beside itself", async () => {
      const { stdout } = await runToEnd(
        [],
        ["sh", "-c", "cd /app/dist && grep -oh '\\./[a-z-]*-main' *.mjs | sort -u; echo; ls"],
      );
      const [named = "", there = ""] = stdout.split("\n\n");
      expect(named).toContain("./helper-main");
      const missing = named
        .split("\n")
        .filter((name) => !there.split("\n").includes(`${name.slice(2)}.mjs`));
      expect(missing).toEqual([]);
    });

    it("has the terms of everything in it", async () => {
      const { stdout } = await runToEnd([], ["sh", "-c", "cd /app/licences && grep -c '' *"]);
      for (const name of [
        ...["LICENSE", "NOTICE.txt", "AGPL-3.0.txt", "GPL-3.0.txt"],
        ...["third-party-licences.txt", "tini.txt"],
      ]) {
        expect(stdout).toMatch(new RegExp(`^${name.replaceAll(".", "\\.")}:[1-9]`, "m"));
      }
      const { stdout: bundled } = await runToEnd(
        [],
        ["cat", "/app/licences/third-party-licences.txt"],
      );
      for (const name of ["@aws-sdk/client-s3", "commander", "zod"])
        expect(bundled).toContain(name);
    });

    it("is root's, so that no other user can change what runs", async () => {
      const { stdout } = await runToEnd(
        [],
        [
          "find",
          "/app",
          "/usr/local/bin",
          "!",
          "-type",
          "l",
          "(",
          "!",
          "-user",
          "root",
          "-o",
          "-perm",
          "/022",
          ")",
        ],
      );
      expect(stdout).toBe("");
    });

    it("is described, and neither its description nor its history holds a credential", async () => {
      const config = JSON.parse(await docker("inspect", "--format", "{{json .Config}}", image));
      expect(config).toMatchObject({
        Entrypoint: ["/app/entrypoint.sh"],
        Cmd: ["run"],
        User: "",
        Volumes: { "/data": {} },
        ExposedPorts: { "80/tcp": {} },
        Healthcheck: {
          Test: ["CMD", "vaultwarden-stream", "healthcheck"],
          Interval: 30e9,
          Timeout: 10e9,
          StartPeriod: 120e9,
          Retries: 3,
        },
        Labels: {
          "org.opencontainers.image.title": "vaultwarden-stream",
          "org.opencontainers.image.licenses": "MIT AND AGPL-3.0-only AND GPL-3.0-only",
        },
      });
      const history = await docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image);
      for (const text of [history, JSON.stringify(config.Env)]) {
        expect(text).not.toMatch(/S3_|SECRET|PASSWORD|TOKEN|_KEY/i);
      }
    });
  });
});

/** Runs a command in a container of its own, without a store, to its end. */
function runToEnd(flags: readonly string[], command: readonly string[]) {
  return tryDocker("run", "--rm", ...flags, image, ...command);
}
