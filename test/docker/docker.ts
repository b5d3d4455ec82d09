import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, it } from "vitest";

/** How long anything may take on a slow machine that is busy with other things too. */
const waitMs = 120_000;

/** A command of the docker client: what it wrote, and how it ended. */
export interface DockerRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Defines tests that need a Docker Engine. Where none answers they are skipped with the reason in their name; if DOCKER_HOST names one, it
 * has to answer.
 *
 * @throws {Error} with the reason, if DOCKER_HOST is set and no engine answers there.
 */
export function describeDocker(name: string, body: () => void): void {
  const version = spawnSync("docker", ["version", "--format", "{{.Server.Version}}"], {
    encoding: "utf8",
    timeout: 20_000,
  });
  if (version.status === 0) {
    describe(name, body);
    return;
  }
  const reason = version.error?.message ?? version.stderr.trim();
  const host = process.env["DOCKER_HOST"];
  if (host) throw new Error(`${name}: no Docker Engine answers at DOCKER_HOST=${host}: ${reason}`);
  it.skip(`${name} (skipped: no Docker Engine answers: ${reason})`, () => {});
}

/** Runs the docker client to its end, whatever that is. */
export function tryDocker(...words: readonly string[]): Promise<DockerRun> {
  const child = spawn("docker", [...words], { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** @returns what it wrote to stdout, without the last line's end. @throws {Error} with all that it wrote, if its exit code is not 0. */
export async function docker(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await tryDocker(...words);
  if (code !== 0) throw new Error(`docker ${words.join(" ")}: exit ${code}\n${stderr}${stdout}`);
  return stdout.replace(/\n$/, "");
}

export interface ContainerOptions {
  readonly image: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Words for `docker run` before the image. */
  readonly flags?: readonly string[];
  /** Words after the image. */
  readonly command?: readonly string[];
}

/** A container that is running or has ended, removed with its volumes at the end of the test. */
export class Container implements AsyncDisposable {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  static async start(options: ContainerOptions): Promise<Container> {
    const name = `vaultwarden-stream-test-${randomBytes(6).toString("hex")}`;
    const variables = Object.entries(options.env ?? {}).flatMap(([key, value]) => [
      "--env",
      `${key}=${value}`,
    ]);
    const container = new Container(name);
    try {
      await docker(
        ...["run", "--detach", "--name", name, "--network", "host"],
        ...variables,
        ...(options.flags ?? []),
        options.image,
        ...(options.command ?? []),
      );
    } catch (error) {
      await container[Symbol.asyncDispose](); // it may have been created all the same
      throw error;
    }
    return container;
  }

  /** Runs a command in it, to its end. */
  exec(...words: readonly string[]): Promise<DockerRun> {
    return tryDocker("exec", this.name, ...words);
  }

  /** A field of `docker inspect`, by Go's template. */
  inspect(template: string): Promise<string> {
    return docker("inspect", "--format", template, this.name);
  }

  /** Everything that it has written so far. */
  async log(): Promise<string> {
    const { stdout, stderr } = await tryDocker("logs", this.name);
    return stdout + stderr;
  }

  /** @returns the exit code, once it has ended. @throws {Error} with the whole log, if it still runs after two minutes. */
  async ended(): Promise<number> {
    for (const endMs = Date.now() + waitMs; Date.now() < endMs; await sleep(200)) {
      const [running, code] = (await this.inspect("{{.State.Running}} {{.State.ExitCode}}")).split(
        " ",
      );
      if (running === "false") return Number(code);
    }
    throw new Error(`it has not ended:\n${await this.log()}`);
  }

  /**
   * Waits for something of a container that runs.
   *
   * @throws {Error} with the whole log, if it has ended, or after two minutes.
   */
  async until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    for (const endMs = Date.now() + waitMs; Date.now() < endMs; await sleep(200)) {
      if (await isSo()) return;
      if ((await this.inspect("{{.State.Running}}")) !== "true") break;
    }
    throw new Error(`waited in vain until ${what}:\n${await this.log()}`);
  }

  logged(text: string): Promise<void> {
    return this.until(`the log says "${text}"`, async () => (await this.log()).includes(text));
  }

  /** As when the machine is lost: the processes at once, and the disk with them. */
  async destroy(): Promise<void> {
    await docker("kill", this.name);
    await docker("rm", "--volumes", this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { code, stderr } = await tryDocker("rm", "--force", "--volumes", this.name);
    if (code !== 0 && !stderr.includes("No such container")) throw new Error(stderr);
  }
}
