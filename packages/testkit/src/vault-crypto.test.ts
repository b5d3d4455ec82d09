import { createHmac, createPrivateKey, pbkdf2Sync } from "node:crypto";
import { expect, test } from "vitest";
import { createPrng } from "./prng.ts";
import {
  createAccountKeys,
  decryptBytes,
  decryptFile,
  decryptText,
  deriveMasterKeys,
  deriveSendKey,
  encryptFile,
  encryptText,
} from "./vault-crypto.ts";

const key = createPrng(1).bytes(64);

test("what was encrypted comes back, and never with another key or a changed byte", () => {
  const encrypted = encryptText("Grüße", key);
  expect(encrypted).toMatch(/^2\.[^|]{24}\|[^|]{24}\|[^|]{44}$/);
  expect(decryptText(encrypted, key)).toBe("Grüße");
  expect(() => decryptText(encrypted, createPrng(2).bytes(64))).toThrow(/another key/);
  expect(() => decryptText("plain", key)).toThrow(/EncString/);

  const bytes = createPrng(3).bytes(100);
  const file = encryptFile(bytes, key);
  expect(file).toHaveLength(49 + 112);
  expect(decryptFile(file, key)).toEqual(bytes);
  file[60] = (file[60] as number) ^ 1;
  expect(() => decryptFile(file, key)).toThrow(/damaged/);
  expect(() => decryptFile(file.subarray(0, 48), key)).toThrow(/not an encrypted file/);
});

test("the master keys are derived from the trimmed, lower-case address, and stretched by HKDF's second step", async () => {
  const keys = await deriveMasterKeys(" User@Example.COM ", "password", 1000);
  const masterKey = pbkdf2Sync("password", "user@example.com", 1000, 32, "sha256");
  expect(keys.passwordHash).toBe(
    pbkdf2Sync(masterKey, "password", 1, 32, "sha256").toString("base64"),
  );
  const firstBlock = createHmac("sha256", masterKey).update("enc\u0001").digest();
  expect(Buffer.compare(keys.stretched.subarray(0, 32), firstBlock)).toBe(0);
  expect(keys.stretched).toHaveLength(64);
});

test("an account's private key can be unwrapped with its user key, and a Send's key has 64 bytes", async () => {
  const keys = await createAccountKeys(key);
  const der = decryptBytes(keys.encryptedPrivateKey, key);
  const unwrapped = createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
  expect(unwrapped.asymmetricKeyType).toBe("rsa");
  expect(deriveSendKey(createPrng(4).bytes(16))).toHaveLength(64);
});
