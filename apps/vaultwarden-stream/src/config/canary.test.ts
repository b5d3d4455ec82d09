import { describe, expect, it } from "vitest";
import { childEnvironment } from "../daemon/child-environment.ts";
import { type Environment, readConfig } from "./config.ts";
import { formatProblem } from "./config-problem.ts";
import { readServerSettings } from "./server-settings.ts";
import { variables } from "./variables.ts";

/** Looked for in every message and in the vault's environment. Nothing of it may be there, whatever is wrong with the configuration. */
const canary = "c4nary";

/** Every secret of ours, of parts that come later, and of the predecessor's tools. */
const secretNames = [
  ...variables.flatMap(({ name, aliases = [], isSecret }) =>
    isSecret === true ? [name, ...aliases] : [],
  ),
  "BACKUP_PASSWORD",
  "NOTIFICATION_URL",
  "ENCRYPTION_IDENTITY",
  "ENCRYPTION_KEY",
  "TAILSCALE_AUTHKEY",
  "RCLONE_CONFIG_X_SECRET_ACCESS_KEY",
  "RCLONE_FLAGS",
  "RCLONE_S3_SSE_CUSTOMER_KEY",
  "S3_SECRET_ACCESS_KEI",
];

const s3 = {
  S3_BUCKET: "vault",
  S3_ENDPOINT: "https://s3.example.org",
  S3_ACCESS_KEY_ID: "key",
  S3_SECRET_ACCESS_KEY: "secret",
};

/** Good values, and all that can be wrong with one. */
const forms: Readonly<Record<string, (name: string) => Environment>> = {
  "as it should be": (name) => ({ [name]: canary }),
  "with characters that no header takes": (name) => ({ [name]: `${canary}\n ü${canary}` }),
  "with a flag before it": (name) => ({ [name]: `--dry-run --s3-sse-customer-key=${canary}` }),
  "in a file": (name) => ({ [name]: undefined, [`${name}_FILE`]: "/canary" }),
  "where its file belongs": (name) => ({ [name]: undefined, [`${name}_FILE`]: canary }),
  "beside its file": (name) => ({ [name]: canary, [`${name}_FILE`]: "/canary" }),
  "under its alias, differently": (name) => ({ [name]: canary, [`LITESTREAM_${name}`]: canary }),
};

function readTextFile(path: string): string {
  if (path === "/canary") return `${canary}\n`;
  throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
}

describe.each(Object.entries(forms))("a secret %s", (_, form) => {
  it.each(secretNames)("is in no message and not with the vault: %s", (name) => {
    for (const base of [s3, { ...s3, SHUTDOWN_TIMEOUT: "x" }, { STORE_DIR: "/store" }]) {
      const environment = { ...base, ...form(name) };
      const config = readConfig(environment, readTextFile);
      const server = readServerSettings(environment, "/", readTextFile);
      const problems = [config, server].flatMap(({ errors, warnings }) => [...errors, ...warnings]);
      expect(problems.map(formatProblem).join("\n")).not.toContain(canary);
      expect(JSON.stringify(childEnvironment(environment, "X"))).not.toContain(canary);
    }
  });
});

it.each([
  ["S3_ENDPOINT", `https://key:${canary}@s3.example.org`],
  ["S3_ENDPOINT", `ftp://key:${canary}@s3.example.org`],
  ["S3_EXTRA_HEADERS", canary],
  ["S3_EXTRA_HEADERS", `Authorization: ${canary}`],
  ["DATABASE_URL", `mysql://user:${canary}@host/vault`],
])("a secret inside %s=%s is not repeated", (name, value) => {
  const environment = { ...s3, [name]: value };
  const problems = [
    readConfig(environment, readTextFile),
    readServerSettings(environment, "/", readTextFile),
  ].flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  expect(problems.map(formatProblem).join("\n")).not.toContain(canary);
});
