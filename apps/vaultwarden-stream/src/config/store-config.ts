import { resolve } from "node:path";
import {
  detectProvider,
  ObjectStoreError,
  openObjectStore,
  parseEndpoint,
  type S3Location,
  type StoreLocation,
} from "@vaultwarden-stream/object-store";
import type { ConfigProblem } from "./config-problem.ts";
import { profileVariables } from "./profile-variables.ts";
import { normalizePrefix, publicAcls, storeVariables } from "./store-variables.ts";

/** What the store's variables say together. */
export interface StoreConfig {
  /** A directory's path as it was given, or a bucket with its credentials: plain data, never to be printed. */
  readonly store: StoreLocation;
  /** The bucket must answer before the vault is started. */
  readonly mustAnswer: boolean;
  /** A new vault may begin although another one lies beside it: somebody has said so for just this place. */
  readonly allowsEmptyStart: boolean;
}

export interface StoreConfigReading {
  /** Undefined if there are errors, here or in one of the variables. */
  readonly config: StoreConfig | undefined;
  readonly errors: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
}

/** The variables as they were read. */
export interface ReadVariables {
  /** Its value or default; undefined if it has none, or could not be read. */
  value(name: string): unknown;
  /** Somebody has set it, readable or not. */
  isGiven(name: string): boolean;
  /** It was given and could not be read; the error is already said. */
  isFailed(name: string): boolean;
}

const s3Names = [...storeVariables, ...profileVariables]
  .map(({ name }) => name)
  .filter((name) => name.startsWith("S3_"));

/** Checks what no variable can check alone, and puts the store's location together. Nothing is asked of the store. */
export function assembleStore(variables: ReadVariables): StoreConfigReading {
  const errors: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const report = { errors, warnings };
  if (variables.isGiven("STORE_DIR")) checkDirectory(variables, report);
  else checkS3(variables, report);
  if (errors.length > 0 || [...s3Names, "STORE_DIR"].some((name) => variables.isFailed(name))) {
    return { config: undefined, errors, warnings };
  }
  const store = (variables.value("STORE_DIR") as string | undefined) ?? toLocation(variables);
  const refusal = findRefusal(store);
  if (refusal !== undefined) return { config: undefined, errors: [refusal], warnings };
  const isS3 = typeof store !== "string";
  return {
    config: {
      store,
      mustAnswer: isS3 && variables.value("S3_NO_CHECK_BUCKET") === false,
      allowsEmptyStart: variables.isGiven("ALLOW_EMPTY_START"),
    },
    errors,
    warnings,
  };
}

interface Report {
  readonly errors: ConfigProblem[];
  readonly warnings: ConfigProblem[];
}

function checkDirectory(variables: ReadVariables, report: Report): void {
  const { errors, warnings } = report;
  if (variables.isGiven("S3_BUCKET")) {
    errors.push({
      name: "STORE_DIR",
      reason: "S3_BUCKET is set too, and there is one store",
      remedy: "keep one of the two",
    });
    return;
  }
  checkEmptyStart(variables, "STORE_DIR", (path) => resolve(path), report);
  const idle = s3Names.filter((name) => variables.isGiven(name));
  if (idle.length === 0) return;
  warnings.push({
    name: idle.join(", "),
    reason: "without effect, since STORE_DIR is the store",
    remedy: "remove them, or remove STORE_DIR and set S3_BUCKET",
  });
}

function checkS3(variables: ReadVariables, report: Report): void {
  const { errors } = report;
  if (!variables.isGiven("S3_BUCKET")) {
    errors.push({
      name: "S3_BUCKET",
      reason: "there is nowhere to store to",
      remedy:
        "set S3_BUCKET, S3_ENDPOINT, S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY; or STORE_DIR=<directory>, best on another disk than the vault's. They are read from the environment: a .env file is Docker's, or `set -a; . ./.env; set +a`",
    });
    return;
  }
  for (const name of ["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"]) {
    if (variables.isGiven(name)) continue;
    errors.push({
      name,
      reason: "the bucket cannot be used without it",
      remedy: `set it, or ${name}_FILE=<file>`,
    });
  }
  const provider = variables.value("S3_PROVIDER") as string | undefined;
  if (provider !== undefined && !/^aws$/i.test(provider) && !variables.isGiven("S3_ENDPOINT")) {
    errors.push({
      name: "S3_ENDPOINT",
      reason: `only AWS is found without it, and S3_PROVIDER is ${provider}`,
      remedy: "set the URL that the provider names",
    });
  }
  warnOfDoubt(provider, variables.value("S3_ENDPOINT") as string | undefined, report);
  checkEmptyStart(variables, "S3_PREFIX", normalizePrefix, report);
  warnOfOpenDoors(variables, report);
}

function warnOfDoubt(
  provider: string | undefined,
  endpoint: string | undefined,
  { warnings }: Report,
): void {
  if (provider === undefined || endpoint === undefined) return;
  const { warning } = detectProvider(provider, parseEndpoint(endpoint));
  if (warning === undefined) return;
  warnings.push({ name: "S3_PROVIDER", reason: warning, remedy: "correct the one that is wrong" });
}

function checkEmptyStart(
  variables: ReadVariables,
  place: "S3_PREFIX" | "STORE_DIR",
  normalize: (text: string) => string,
  { errors }: Report,
): void {
  const given = variables.value("ALLOW_EMPTY_START") as string | undefined;
  const value = variables.value(place) as string | undefined;
  if (given === undefined || value === undefined || normalize(given) === normalize(value)) return;
  errors.push({
    name: "ALLOW_EMPTY_START",
    value: given,
    reason: `${place} is ${JSON.stringify(value)}, and a new vault is only allowed under just that`,
    remedy: "correct the one that has the typo, or remove it: it is only for a first start",
  });
}

function warnOfOpenDoors(variables: ReadVariables, { warnings }: Report): void {
  if (variables.value("S3_SKIP_TLS_VERIFY") === true) {
    warnings.push({
      name: "S3_SKIP_TLS_VERIFY",
      reason: "the store's certificate is not checked: anybody on the way can read and change all",
      remedy: "name the store's authority by SSL_CERT_FILE instead",
    });
  }
  const acl = variables.value("S3_ACL") as string | undefined;
  if (acl !== undefined && publicAcls.includes(acl)) {
    warnings.push({
      name: "S3_ACL",
      value: acl,
      reason: "everybody on the internet can read the whole vault",
      remedy: "write private, or remove it",
    });
  }
}

function toLocation(variables: ReadVariables): S3Location {
  const text = (name: string): string | undefined => variables.value(name) as string | undefined;
  const endpoint = text("S3_ENDPOINT");
  const provider = text("S3_PROVIDER");
  const region = text("S3_REGION");
  const acl = text("S3_ACL");
  const sessionToken = text("S3_SESSION_TOKEN");
  const overrides = profileVariables
    .map(({ name, field }) => [field, variables.value(name)] as const)
    .filter(([, value]) => value !== undefined);
  return {
    bucket: text("S3_BUCKET") as string,
    prefix: text("S3_PREFIX") as string,
    credentials: {
      accessKeyId: text("S3_ACCESS_KEY_ID") as string,
      secretAccessKey: text("S3_SECRET_ACCESS_KEY") as string,
      ...(sessionToken === undefined ? {} : { sessionToken }),
    },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(provider === undefined ? {} : { provider }),
    ...(region === undefined || /^auto$/i.test(region) ? {} : { region }),
    ...(acl === undefined ? {} : { acl }),
    // `false` does not forbid it: it leaves the choice to the profile, as with the predecessor.
    ...(variables.value("S3_FORCE_PATH_STYLE") === true ? { forcePathStyle: true } : {}),
    ...(variables.value("S3_SKIP_TLS_VERIFY") === true ? { skipTlsVerify: true } : {}),
    ...(overrides.length === 0 ? {} : { profile: Object.fromEntries(overrides) }),
  };
}

/** What the store itself says of such a location, before any request. */
function findRefusal(store: StoreLocation): ConfigProblem | undefined {
  try {
    openObjectStore(store);
    return undefined;
  } catch (error) {
    if (!(error instanceof ObjectStoreError)) throw error;
    return {
      name: typeof store === "string" ? "STORE_DIR" : "S3_*",
      reason: error.message,
      remedy: error.hint ?? "correct it",
    };
  }
}
