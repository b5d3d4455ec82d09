import { readdirSync, readFileSync } from "node:fs";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { delimiter, join } from "node:path";
import { createSecureContext, getCACertificates } from "node:tls";

export type Environment = Readonly<Record<string, string | undefined>>;

/** How connections are made: what the environment and the location say of proxies and certificates, read once. Holds secrets of proxies. */
export interface ConnectionSettings {
  /** `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, in any case. */
  readonly proxyEnvironment: Environment;
  /** PEM texts, trusted besides those that Node trusts. */
  readonly authorities: readonly string[];
  readonly skipTlsVerify: boolean;
}

const proxyNames = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/**
 * Reads the variables that Go programs honour (environment.md 1), so that a machine set up for one of them needs nothing else.
 *
 * @throws {TypeError} if a named file or directory cannot be read, or if this version of Node has no proxies.
 */
export function readConnectionSettings(
  environment: Environment,
  skipTlsVerify: boolean,
): ConnectionSettings {
  const proxyEnvironment = Object.fromEntries(
    Object.entries(environment).filter(
      ([name, value]) =>
        proxyNames.includes(name.toUpperCase()) && value !== undefined && value !== "",
    ),
  );
  const hasProxy = Object.keys(proxyEnvironment).some((name) => name.toUpperCase() !== "NO_PROXY");
  if (hasProxy && !knowsProxies(process.versions.node)) {
    throw new TypeError(
      `a proxy is set, and Node ${process.versions.node} cannot use it: run Node 22.21, 24.5 or later`,
    );
  }
  return { proxyEnvironment, authorities: readAuthorities(environment), skipTlsVerify };
}

/** Kept alive; a connection that is not in use does not keep the process alive. */
export function createAgents({
  proxyEnvironment,
  authorities,
  skipTlsVerify,
}: ConnectionSettings): {
  readonly httpAgent: HttpAgent;
  readonly httpsAgent: HttpsAgent;
} {
  const options = { keepAlive: true, proxyEnv: normalizeProxies(proxyEnvironment) };
  const trust =
    authorities.length === 0
      ? {}
      : // Once, since the whole list is parsed for it.
        { secureContext: createSecureContext({ ca: [...getCACertificates(), ...authorities] }) };
  return {
    httpAgent: new HttpAgent(options),
    httpsAgent: new HttpsAgent({ ...options, ...trust, rejectUnauthorized: !skipTlsVerify }),
  };
}

/** Node knows the names in capitals and in small letters only; a proxy without a scheme is an HTTP proxy, as Go has it. */
function normalizeProxies(environment: Environment): Record<string, string> {
  const proxies: Record<string, string> = {};
  for (const [name, value = ""] of Object.entries(environment)) {
    const isList = name.toUpperCase() === "NO_PROXY";
    proxies[name.toUpperCase()] = isList || value.includes("://") ? value : `http://${value}`;
  }
  return proxies;
}

function knowsProxies(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
}

function readAuthorities(environment: Environment): readonly string[] {
  const file = environment["SSL_CERT_FILE"] ?? "";
  const directories = (environment["SSL_CERT_DIR"] ?? "").split(delimiter);
  const authorities = file === "" ? [] : [read("SSL_CERT_FILE", () => readFileSync(file, "utf8"))];
  for (const directory of directories.filter((one) => one !== "")) {
    const names = read("SSL_CERT_DIR", () => readdirSync(directory, { withFileTypes: true }));
    for (const entry of names.filter((one) => one.isFile() || one.isSymbolicLink())) {
      const text = read("SSL_CERT_DIR", () => readIfFile(join(directory, entry.name)));
      if (text.includes("-----BEGIN CERTIFICATE-----")) authorities.push(text);
    }
  }
  return authorities;
}

/** Directories of certificates have links by hash, of which some lead nowhere. */
function readIfFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EISDIR") return "";
    throw error;
  }
}

function read<T>(variable: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new TypeError(`${variable}: ${(error as Error).message}`, { cause: error });
  }
}
