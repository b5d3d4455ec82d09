import { describe, expect, it } from "vitest";
import { type ConfigReading, type Environment, readConfig } from "./config.ts";
import { formatProblem } from "./config-problem.ts";

const s3: Environment = {
  S3_BUCKET: "vault",
  S3_ENDPOINT: "https://s3.example.org",
  S3_ACCESS_KEY_ID: "key",
  S3_SECRET_ACCESS_KEY: "hunter2",
};
const location = {
  bucket: "vault",
  prefix: "vaultwarden",
  endpoint: "https://s3.example.org",
  credentials: { accessKeyId: "key", secretAccessKey: "hunter2" },
};

function read(environment: Environment): ConfigReading {
  return readConfig({ ...s3, ...environment }, (path) => `from:${path}\n`);
}

function messages({ errors, warnings }: ConfigReading): readonly string[] {
  return [...errors, ...warnings].map(formatProblem);
}

describe("the store's variables", () => {
  it("need a bucket, its endpoint and its key, and nothing else", () => {
    const { config, errors, warnings } = read({});
    expect({ errors, warnings }).toEqual({ errors: [], warnings: [] });
    expect(config).toMatchObject({ mustAnswer: false, allowsEmptyStart: false });
    expect(config?.store).toEqual(location);
  });

  it.each([
    ["S3_PREFIX", "//a//b/", { prefix: "a/b" }],
    ["S3_PREFIX", "/", { prefix: "" }],
    ["S3_REGION", "", {}],
    ["S3_REGION", "AUTO", {}],
    ["S3_REGION", "eu-central-1", { region: "eu-central-1" }],
    ["S3_PROVIDER", "hetzner", { provider: "hetzner" }],
    ["S3_ENDPOINT", "localhost:9000", { endpoint: "localhost:9000" }],
    ["S3_ENDPOINT", "https://x.supabase.co/storage/v1/s3", {}],
    ["S3_ACL", "Private", { acl: "private" }],
    ["S3_FORCE_PATH_STYLE", "yes", { forcePathStyle: true }],
    ["LITESTREAM_FORCE_PATH_STYLE", "true", { forcePathStyle: true }],
    ["S3_FORCE_PATH_STYLE", "false", {}],
    ["S3_SKIP_TLS_VERIFY", "off", {}],
    ["LITESTREAM_SKIP_VERIFY", "1", { skipTlsVerify: true }],
    [
      "S3_SESSION_TOKEN",
      "t",
      { credentials: { accessKeyId: "key", secretAccessKey: "hunter2", sessionToken: "t" } },
    ],
    [
      "S3_SECRET_ACCESS_KEY_FILE",
      "/run/key",
      { credentials: { accessKeyId: "key", secretAccessKey: "from:/run/key" } },
    ],
    ["S3_ADDRESSING", "virtual-host", { profile: { addressing: "virtual-host" } }],
    ["S3_LIST_VERSION", "1", { profile: { listVersion: 1 } }],
    ["S3_ETAG_IS_MD5", "no", { profile: { etagIsMd5: false } }],
    ["S3_BULK_DELETE", "false", { profile: { bulkDelete: false } }],
    ["S3_PART_BYTES_MIN", "67108864", { profile: { partBytesMin: 67_108_864 } }],
    ["S3_EXTRA_RETRY_STATUSES", "408, 425", { profile: { extraRetryStatuses: [408, 425] } }],
    [
      "S3_EXTRA_HEADERS",
      "X-A: b c, X-D: e",
      { profile: { extraHeaders: { "X-A": "b c", "X-D": "e" } } },
    ],
  ])("take %s=%s", (name, value, expected) => {
    const { config, errors } = read({
      [name]: value,
      ...(name === "S3_SECRET_ACCESS_KEY_FILE" ? { S3_SECRET_ACCESS_KEY: "" } : {}),
    });
    expect(errors).toEqual([]);
    expect(config?.store).toEqual({
      ...location,
      ...(name === "S3_ENDPOINT" ? { endpoint: value } : {}),
      ...expected,
    });
  });

  it("take an empty S3_PREFIX for the bucket's root, as the predecessor did", () => {
    expect(read({ S3_PREFIX: "" }).config?.store).toMatchObject({ prefix: "" });
  });

  it.each([
    ["S3_ACCESS_KEY_ID", "", "the bucket cannot be used without it"],
    ["S3_SECRET_ACCESS_KEY", "", "S3_SECRET_ACCESS_KEY_FILE=<file>"],
    ["S3_BUCKET", "vault/prefix", "folders go to S3_PREFIX"],
    ["S3_PREFIX", "a\nb", "without control characters"],
    ["S3_ENDPOINT", "https://", "write https://host"],
    ["S3_ENDPOINT", "ftp://x", "not with https:// or http://"],
    ["S3_ENDPOINT", "https://hunter2:hunter2@x", "has credentials in it"],
    ["S3_ENDPOINT", "https://x/?region=eu", "has a ? or # in it"],
    ["S3_ACL", "everybody", "write private, public-read,"],
    ["S3_NO_CHECK_BUCKET", "perhaps", "write true or false"],
    ["S3_PART_COUNT_MAX", "0", "a whole number from 1 to 10000"],
    ["S3_EXTRA_RETRY_STATUSES", "200", "a whole number from 400 to 599"],
    ["S3_EXTRA_HEADERS", "no colon", "name: value"],
    ["ALLOW_EMPTY_START", "vault-2", 'S3_PREFIX is "vaultwarden"'],
  ])("refuse %s=%s once and say what to do", (name, value, remedy) => {
    const reading = read({ [name]: value });
    expect(reading.config).toBeUndefined();
    expect(reading.errors.map((problem) => problem.name)).toEqual([name]);
    expect(messages(reading).join()).toContain(remedy);
    expect(messages(reading).join()).not.toContain("hunter2");
  });

  it("refuse a provider that nobody knows with all names, beside every other error", () => {
    const reading = read({ S3_PROVIDER: "Hetzna", S3_ACCESS_KEY_ID: "" });
    expect(reading.errors.map(({ name }) => name)).toEqual(["S3_PROVIDER", "S3_ACCESS_KEY_ID"]);
    expect(messages(reading).join()).toMatch(/did you mean Hetzner.*Wasabi/);
  });

  it("warn where name and host of the provider disagree, and follow the name", () => {
    const reading = read({ S3_PROVIDER: "Hetzner", S3_ENDPOINT: "https://s3.eu.wasabisys.com" });
    expect(messages(reading)).toEqual([expect.stringMatching(/^S3_PROVIDER: .*Hetzner it is/)]);
    expect(reading.config?.store).toMatchObject({ provider: "Hetzner" });
  });

  it("pass on what the store itself refuses before any request", () => {
    const reading = read({ S3_SECRET_ACCESS_KEY: "hunter2 hunter2", S3_PREFIX: "" });
    expect(reading.config).toBeUndefined();
    expect(messages(reading)).toEqual([expect.stringContaining("secretAccessKey")]);
    expect(messages(reading).join()).not.toContain("hunter2");
  });

  it("need an endpoint unless the provider is AWS, by name or by silence", () => {
    for (const S3_PROVIDER of [undefined, "aws"]) {
      expect(read({ S3_PROVIDER, S3_ENDPOINT: undefined }).errors).toEqual([]);
    }
    const reading = read({ S3_PROVIDER: "Wasabi", S3_ENDPOINT: undefined });
    expect(messages(reading)).toEqual([expect.stringContaining("S3_PROVIDER is Wasabi")]);
  });

  it("allow an empty start for just the prefix that is in force", () => {
    expect(read({ ALLOW_EMPTY_START: "/vaultwarden/" }).config?.allowsEmptyStart).toBe(true);
    expect(read({ S3_PREFIX: "", ALLOW_EMPTY_START: "/" }).config?.allowsEmptyStart).toBe(true);
  });

  it("demand that the bucket answers only where somebody asked for it", () => {
    expect(read({ S3_NO_CHECK_BUCKET: "false" }).config?.mustAnswer).toBe(true);
    expect(read({ S3_NO_CHECK_BUCKET: "true" }).config?.mustAnswer).toBe(false);
  });

  it("warn of doors left open, at each start", () => {
    const warnings = messages(read({ S3_SKIP_TLS_VERIFY: "true", S3_ACL: "public-read" }));
    expect(warnings).toEqual([
      expect.stringContaining("anybody on the way can read and change all"),
      expect.stringContaining("everybody on the internet can read the whole vault"),
    ]);
  });

  it("compare an alias by what it means", () => {
    const same = read({ S3_FORCE_PATH_STYLE: "true", LITESTREAM_FORCE_PATH_STYLE: "1" });
    expect(same.errors).toEqual([]);
    const other = read({ S3_SKIP_TLS_VERIFY: "true", LITESTREAM_SKIP_VERIFY: "false" });
    expect(messages(other)[0]).toContain("another name of S3_SKIP_TLS_VERIFY");
    expect(other.config).toBeUndefined();
  });

  it("warn in one line of what a directory as the store makes idle", () => {
    const reading = readConfig({ STORE_DIR: "/store", S3_REGION: "auto", S3_PREFIX: "" }, () => "");
    expect(reading.config).toMatchObject({ store: "/store", allowsEmptyStart: false });
    expect(messages(reading)).toEqual([
      expect.stringMatching(/^S3_PREFIX, S3_REGION: without effect/),
    ]);
  });

  it("allow an empty start for just the directory that is the store", () => {
    const reading = (place: string): ConfigReading =>
      readConfig({ STORE_DIR: "/mnt/vault", ALLOW_EMPTY_START: place }, () => "");
    expect(reading("/mnt/vault/").config?.allowsEmptyStart).toBe(true);
    expect(messages(reading("/mnt/vualt")).join()).toContain('STORE_DIR is "/mnt/vault"');
  });
});
