import { expect, it } from "vitest";
import { parseServerBoolean } from "./server-settings.ts";
import { configFileTypes, serverVariables } from "./server-variables.ts";

it("knows each setting once, with a group, a text and a type that fits its default", () => {
  expect(new Set(serverVariables.map(({ name }) => name)).size).toBe(serverVariables.length);
  for (const { name, group, type, defaultText, meaning } of serverVariables) {
    expect(name).toMatch(/^[A-Z][A-Z0-9_]+$/);
    expect([group, meaning]).not.toContain("");
    expect(type).toMatch(/^(environment|text|boolean|u8|u16|u32|u64|i32|i64)$/);
    if (defaultText === undefined) continue;
    if (type === "boolean") expect(parseServerBoolean(defaultText), name).toBeDefined();
    if (/^[ui]\d/.test(type)) expect(defaultText, name).toMatch(/^\d+$/);
    if (type === "text") expect(defaultText, name).not.toMatch(/^(true|false)$/);
  }
});

it("has no key of config.json for what only the environment can say", () => {
  expect(configFileTypes.has("database_url")).toBe(true);
  expect(configFileTypes.has("_enable_smtp")).toBe(true);
  expect(configFileTypes.has("config_file")).toBe(false);
  expect(configFileTypes.has("rocket_port")).toBe(false);
});
