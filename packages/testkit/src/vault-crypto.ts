/** What a Bitwarden client does with keys: enough of it that the real server, and real clients, accept what it writes. */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  generateKeyPair as generateKeyPairCallback,
  hkdfSync,
  pbkdf2 as pbkdf2Callback,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";
import { promisify } from "node:util";

const pbkdf2 = promisify(pbkdf2Callback);
const generateKeyPair = promisify(generateKeyPairCallback);

/** 64 bytes: 32 for AES-256-CBC, 32 for HMAC-SHA256. */
export type SymmetricKey = Uint8Array;

export interface MasterKeys {
  /** What the server gets instead of the password. */
  readonly passwordHash: string;
  /** Wraps the user's key. */
  readonly stretched: SymmetricKey;
}

/** @param iterations - of PBKDF2, at least 100,000 for the real server. */
export async function deriveMasterKeys(
  email: string,
  password: string,
  iterations: number,
): Promise<MasterKeys> {
  const salt = email.trim().toLowerCase();
  const masterKey = await pbkdf2(password, salt, iterations, 32, "sha256");
  const hash = await pbkdf2(masterKey, password, 1, 32, "sha256");
  const stretched = Buffer.concat([expand(masterKey, "enc"), expand(masterKey, "mac")]);
  return { passwordHash: hash.toString("base64"), stretched };
}

/** The key pair that an account is registered with, its private part wrapped with the user's key. */
export async function createAccountKeys(
  userKey: SymmetricKey,
): Promise<{ publicKey: string; encryptedPrivateKey: string }> {
  const { publicKey, privateKey } = await generateKeyPair("rsa", { modulusLength: 2048 });
  const privateDer = privateKey.export({ type: "pkcs8", format: "der" });
  return {
    publicKey: publicKey.export({ type: "spki", format: "der" }).toString("base64"),
    encryptedPrivateKey: encryptBytes(privateDer, userKey),
  };
}

/** The key of a Send, from the 16-byte seed that its link carries. */
export function deriveSendKey(seed: Uint8Array): SymmetricKey {
  return new Uint8Array(hkdfSync("sha256", seed, "bitwarden-send", "send", 64));
}

/** An EncString of type 2: `2.iv|ct|mac`. */
export function encryptText(text: string, key: SymmetricKey): string {
  return encryptBytes(Buffer.from(text), key);
}

export function encryptBytes(bytes: Uint8Array, key: SymmetricKey): string {
  const { iv, ciphertext, mac } = encrypt(bytes, key);
  return `2.${iv.toString("base64")}|${ciphertext.toString("base64")}|${mac.toString("base64")}`;
}

export function decryptText(encString: string, key: SymmetricKey): string {
  return Buffer.from(decryptBytes(encString, key)).toString();
}

/** @throws {Error} if it is no EncString of type 2, or was not made with this key. */
export function decryptBytes(encString: string, key: SymmetricKey): Uint8Array {
  const parts = /^2\.([^|]+)\|([^|]+)\|([^|]+)$/.exec(encString);
  if (parts === null) throw new Error("not an EncString of type 2");
  const [iv, ciphertext, mac] = parts.slice(1).map((part) => Buffer.from(part, "base64"));
  return decrypt(iv as Buffer, ciphertext as Buffer, mac as Buffer, key);
}

/** The bytes of a stored file: `0x02`, iv 16, mac 32, ciphertext. */
export function encryptFile(bytes: Uint8Array, key: SymmetricKey): Uint8Array<ArrayBuffer> {
  const { iv, ciphertext, mac } = encrypt(bytes, key);
  return new Uint8Array(Buffer.concat([Buffer.of(2), iv, mac, ciphertext]));
}

/** @throws {Error} if it is no such file, or was not made with this key. */
export function decryptFile(file: Uint8Array, key: SymmetricKey): Uint8Array {
  if (file.length < 49 || file[0] !== 2) throw new Error("not an encrypted file of type 2");
  return decrypt(file.subarray(1, 17), file.subarray(49), file.subarray(17, 49), key);
}

function encrypt(
  bytes: Uint8Array,
  key: SymmetricKey,
): { iv: Buffer; ciphertext: Buffer; mac: Buffer } {
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", key.subarray(0, 32), iv);
  const ciphertext = Buffer.concat([cipher.update(bytes), cipher.final()]);
  return { iv, ciphertext, mac: macOf(iv, ciphertext, key) };
}

function decrypt(
  iv: Uint8Array,
  ciphertext: Uint8Array,
  mac: Uint8Array,
  key: SymmetricKey,
): Uint8Array {
  const expected = macOf(iv, ciphertext, key);
  if (mac.length !== expected.length || !timingSafeEqual(mac, expected)) {
    throw new Error("made with another key, or damaged");
  }
  const decipher = createDecipheriv("aes-256-cbc", key.subarray(0, 32), iv);
  return new Uint8Array(Buffer.concat([decipher.update(ciphertext), decipher.final()]));
}

function macOf(iv: Uint8Array, ciphertext: Uint8Array, key: SymmetricKey): Buffer {
  return createHmac("sha256", key.subarray(32)).update(iv).update(ciphertext).digest();
}

/** HKDF's second step alone, for one block: Bitwarden skips the first. */
function expand(key: Uint8Array, info: string): Buffer {
  return createHmac("sha256", key).update(info).update(Buffer.of(1)).digest();
}
