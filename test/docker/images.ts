import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { docker } from "./docker.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const testkit = join(checkout, "packages", "testkit");

/** As the Dockerfile makes it, over the server of its base image. */
export const image = "vaultwarden-stream-test:image";
/** The same with the testkit's stand-in as the server, whatever the base image has there. */
export const imageWithStandIn = "vaultwarden-stream-test:stand-in";

/** Builds both. What has not changed since the last time comes from the engine's cache. */
export async function buildImages(): Promise<void> {
  // In some places only the host's network reaches the registries.
  await docker("build", "--network", "host", "--tag", image, checkout);
  const context = mkdtempSync(join(tmpdir(), "stand-in-image-"));
  try {
    copyStandIn(join(context, "testkit"));
    writeFileSync(
      join(context, "vaultwarden"),
      '#!/bin/sh\nexec node --conditions=@vaultwarden-stream/source /testkit/src/stand-in-main.ts "$@"\n',
      { mode: 0o755 },
    );
    writeFileSync(
      join(context, "Dockerfile"),
      `FROM ${image}\nCOPY testkit /testkit\nCOPY vaultwarden /vaultwarden\n`,
    );
    await docker("build", "--tag", imageWithStandIn, context);
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

/** The testkit's sources with the packages that they need, which have no dependencies that run. */
function copyStandIn(target: string): void {
  cpSync(join(testkit, "src"), join(target, "src"), { recursive: true });
  cpSync(join(testkit, "package.json"), join(target, "package.json"));
  const { dependencies } = JSON.parse(readFileSync(join(testkit, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    cpSync(join(testkit, "node_modules", name), join(target, "node_modules", name), {
      recursive: true,
      dereference: true,
    });
  }
}
