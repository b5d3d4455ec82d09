/** `rsa_key.pem` and the tokens that it signs: a login survives on another machine only with the same key and the same `DOMAIN`. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { StartFailure } from "./settings.ts";

/** Made in place, mode 0644, if it is missing. @throws {StartFailure} 1, if it is there and no private key. */
export function readOrCreateSigningKey(path: string): KeyObject {
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw new StartFailure(`error reading the RSA key ${path}`, { exitCode: 1, cause: error });
    }
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o644 });
    return privateKey;
  }
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new StartFailure(`error decoding the RSA key ${path}`, { exitCode: 1, cause });
  }
}

/** What a token says; `iss` is the origin of `DOMAIN` and the purpose. */
export interface TokenClaims {
  readonly iss: string;
  readonly sub: string;
  /** Seconds since 1970. */
  readonly exp: number;
  readonly device?: string;
  readonly sstamp?: string;
  readonly file_id?: string;
}

/** A JSON Web Token, RS256. */
export function signToken(key: KeyObject, claims: TokenClaims): string {
  const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ typ: "JWT", alg: "RS256" })}.${encode(claims)}`;
  return `${signed}.${sign("RSA-SHA256", Buffer.from(signed), key).toString("base64url")}`;
}

/** @returns the claims, or undefined if the token is not ours, not for this purpose, or expired. */
export function readToken(
  key: KeyObject,
  issuer: string,
  token: string,
  nowMs: number,
): TokenClaims | undefined {
  const [header, payload, signature, ...more] = token.split(".");
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0) {
    return undefined;
  }
  const signed = Buffer.from(`${header}.${payload}`);
  const isOurs = verify(
    "RSA-SHA256",
    signed,
    createPublicKey(key),
    Buffer.from(signature, "base64url"),
  );
  if (!isOurs) return undefined;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as TokenClaims;
  return claims.iss === issuer && claims.exp * 1000 > nowMs ? claims : undefined;
}
