import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { readConfig } from "./config.ts";
import { renderEnvExample } from "./render-env-example.ts";
import { readServerSettings } from "./server-settings.ts";
import { serverVariables } from "./server-variables.ts";
import { variables } from "./variables.ts";

const assignments = [...renderEnvExample().matchAll(/^#([A-Z_0-9]+)=(.*)$/gm)].map(
  ([, name = "", value = ""]) => [name, value] as const,
);

it("is what lies in the repository: run `node --conditions=@vaultwarden-stream/source apps/vaultwarden-stream/src/env-example.ts`", () => {
  const path = new URL("../../../../.env.example", import.meta.url);
  expect(readFileSync(path, "utf8")).toBe(renderEnvExample());
});

it("names every variable of ours and of the server once, and sets none", () => {
  expect(assignments.map(([name]) => name).toSorted()).toEqual(
    [...variables, ...serverVariables].map(({ name }) => name).toSorted(),
  );
  expect(renderEnvExample()).not.toMatch(/^[^#\n]/m);
});

it("has defaults that change nothing when they are set", () => {
  // A file that is named has to be there; the one that is looked for anyway does not.
  const environment = Object.fromEntries(
    assignments.filter(([name, value]) => value !== "" && name !== "ENV_FILE"),
  );
  const files = (path: string): string => {
    throw Object.assign(new Error(path), { code: "ENOENT" });
  };
  const ours = (given: object): object => readConfig({ STORE_DIR: "/s", ...given }, files);
  const { S3_PREFIX, S3_REGION, S3_NO_CHECK_BUCKET, S3_SKIP_TLS_VERIFY, ...rest } = environment;
  expect(ours(rest)).toEqual(ours({}));
  const servers = (given: object): object => readServerSettings({ ...given }, "/", files);
  // In the image: without it the server listens elsewhere.
  const image = { ROCKET_ADDRESS: "0.0.0.0", ROCKET_PORT: "80" };
  expect(servers(environment)).toEqual(servers(image));
});

it("has defaults that their own schema accepts", () => {
  for (const { name, defaultText, schema } of variables) {
    if (defaultText !== undefined)
      expect([name, schema.safeParse(defaultText).success]).toEqual([name, true]);
  }
});

it("has no name of ours that the server knows too", () => {
  const theirs = new Set(serverVariables.map(({ name }) => name));
  const ours = variables.flatMap(({ name, aliases = [], oldNames = [] }) => [
    name,
    ...aliases,
    ...oldNames,
  ]);
  expect(ours.filter((name) => theirs.has(name) || theirs.has(`${name}_FILE`))).toEqual([]);
});
