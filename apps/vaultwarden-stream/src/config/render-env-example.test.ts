import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { readConfig } from "./config.ts";
import { renderEnvExample } from "./render-env-example.ts";
import { variables } from "./variables.ts";

it("is what lies in the repository: run `node --conditions=@vaultwarden-stream/source apps/vaultwarden-stream/src/env-example.ts`", () => {
  const path = new URL("../../../../.env.example", import.meta.url);
  expect(readFileSync(path, "utf8")).toBe(renderEnvExample());
});

it("names every variable once, and its defaults are accepted by the reader", () => {
  const assignments = [...renderEnvExample().matchAll(/^#([A-Z_0-9]+)=(.*)$/gm)];
  expect(assignments.map(([, name]) => name).toSorted()).toEqual(
    variables.map(({ name }) => name).toSorted(),
  );
  const environment = Object.fromEntries(assignments.map(([, name, value]) => [name, value]));
  const { errors } = readConfig({ ...environment, STORE_DIR: "/store" }, () => "");
  expect(errors).toEqual([]);
});

it("has defaults that their own schema accepts", () => {
  for (const { name, defaultText, schema } of variables) {
    if (defaultText !== undefined)
      expect([name, schema.safeParse(defaultText).success]).toEqual([name, true]);
  }
});
