import { generateKeyPairSync } from "node:crypto";
import { expect, it } from "vitest";
import { contentChecks } from "./check-content.ts";

const check = (root: string, text: string): string | undefined =>
  contentChecks.get(root)?.(Buffer.from(text));

it("a key is a private key, whole", () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = privateKey.export({ type: "pkcs1", format: "pem" }) as string;
  expect(check("rsa_key.pem", pem)).toBeUndefined();
  const canary = pem.split("\n")[1] ?? "";
  for (const bad of [
    "",
    pem.slice(0, -200),
    pem.slice(0, pem.length / 2),
    publicKey.export({ type: "spki", format: "pem" }) as string,
  ]) {
    expect(check("rsa_key.pem", bad)).toBe("it is not a private key");
    expect(check("rsa_key.pem", bad)).not.toContain(canary);
  }
});

it("weakness 10: no half configuration is stored", () => {
  const text = JSON.stringify({ signups_allowed: false, admin_token: "secret" });
  expect(check("config.json", text)).toBeUndefined();
  for (let length = 0; length < text.length; length += 1) {
    expect(check("config.json", text.slice(0, length))).toBeDefined();
  }
  expect(check("config.json", "[]")).toBeDefined();
  expect(check("config.json", "null")).toBeDefined();
});
