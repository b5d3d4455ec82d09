import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { openObjectStore } from "./open-store.ts";

it.each([
  { location: "file:///bk/replica", path: "/bk/replica" },
  { location: "FILE:///bk/a%20b/%C3%A4", path: "/bk/a b/ä" },
  { location: "/bk/a b", path: "/bk/a b" },
  { location: "bk", path: resolve("bk") },
  { location: "./bk:1", path: resolve("bk:1") },
])("opens $location as a directory", ({ location, path }) => {
  expect(openObjectStore(location).properties).toMatchObject({
    kind: "directory",
    location: pathToFileURL(path).href,
  });
});

it.each([
  "",
  "gs://bucket",
  "https://example.org/bucket",
  "file:bk",
  "file://bk/replica",
  "file:///bk?x=1",
  "file:///bk#x",
  "file:///a%2Fb",
])("refuses %j with a hint", (location) => {
  expect(() => openObjectStore(location)).toThrow(
    expect.objectContaining({
      code: "INVALID_ARGUMENT",
      hint: expect.stringContaining("file:///absolute/path"),
    }),
  );
});

describe("an s3:// URL", () => {
  const keys = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "canary-secret" };

  it.each([
    ["s3://b/p", {}, "s3://b/p?endpoint=https://s3.us-east-1.amazonaws.com"],
    ["s3://b/p?region=eu-west-3", {}, "s3://b/p?endpoint=https://s3.eu-west-3.amazonaws.com"],
    [
      "s3://b/p",
      { AWS_REGION: "cn-north-1" },
      "s3://b/p?endpoint=https://s3.cn-north-1.amazonaws.com.cn",
    ],
    ["s3://b/p/", { AWS_ENDPOINT_URL_S3: "http://h:9/" }, "s3://b/p?endpoint=http://h:9"],
    [
      "S3://b//a%20b//c/?endpoint=127.0.0.1%3A9000",
      {},
      "s3://b/a b/c?endpoint=http://127.0.0.1:9000",
    ],
    [
      "s3://b/p?endpoint=https://h&forcePathStyle=TRUE&provider=minio",
      {},
      "s3://b/p?endpoint=https://h",
    ],
  ])("%s with %j is %s", (url, environment, location) => {
    expect(openObjectStore(url, { ...keys, ...environment }).properties).toMatchObject({
      kind: "s3",
      location,
      createIfAbsent: "unproved",
    });
  });

  it.each([
    ["s3:bucket", "Write s3://bucket/prefix"],
    ["s3:///prefix", "Write s3://bucket/prefix"],
    ["s3://bucket", "s3://bucket/some-name"],
    ["s3://bucket//", "s3://bucket/some-name"],
    ["s3://bucket/a%zz", "% is written %25"],
    ["s3://bucket/a%0ab", "letters, digits"],
    ["s3://bucket/a/../b", "letters, digits"],
    ["s3://bucket/p#x", "# is written %23"],
    ["s3://bucket:9000/p", "?endpoint=https://host:port"],
    ["s3://bucket/p?endpiont=https://h", "Did you mean endpoint?"],
    ["s3://bucket/p?endpoint=a&endpoint=b", "Write s3://bucket/prefix"],
    ["s3://bucket/p?forcePathStyle=yes", "Write s3://bucket/prefix"],
    ["s3://bucket/p?provider=Minoi", "Correct the setting"],
    ["s3://bucket/p?provider=Minio", "Correct the setting"],
    ["s3://user:canary@bucket/p", "AWS_ACCESS_KEY_ID"],
    ["s3://bucket/p?secretAccessKey=canary", "Did you mean"],
    ["s3://bucket/p?endpoint=https://u:canary@h", "Correct the setting"],
  ])("%s is refused with %s", (url, hint) => {
    const error = catchError(() => openObjectStore(url, keys));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", hint: expect.stringContaining(hint) });
    expect(inspect(error, { depth: 10 })).not.toContain("canary");
  });

  it.each([
    [{}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"],
    [{ AWS_ACCESS_KEY_ID: "id" }, ": AWS_SECRET_ACCESS_KEY is not set"],
    [{ AWS_SECRET_ACCESS_KEY: "canary" }, ": AWS_ACCESS_KEY_ID is not set"],
    [
      { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "can ary" },
      "secretAccessKey is empty, or has",
    ],
  ])("with %j is refused, with the variable's name", (environment, message) => {
    const error = catchError(() => openObjectStore("s3://bucket/p", environment));
    expect(error).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(message),
    });
    expect(inspect(error, { depth: 10 })).not.toMatch(/can ?ary/);
  });
});

describe("an S3 location", () => {
  const credentials = { accessKeyId: "id", secretAccessKey: "canary-secret" };

  it("crosses the border of a process, and takes nothing of AWS_* but missing credentials", () => {
    const location = structuredClone({ bucket: "b", prefix: "", credentials });
    const environment = { AWS_REGION: "eu-west-3", AWS_ENDPOINT_URL_S3: "http://h" };
    const store = openObjectStore(location, environment);
    expect(store.properties.location).toBe("s3://b/?endpoint=https://s3.us-east-1.amazonaws.com");
    expect(inspect(store, { depth: 10, showHidden: true })).not.toContain("canary");
  });

  it.each([
    [{ bucket: "a/b" }, "is not a bucket's name"],
    [{ bucket: "arn:aws:s3:::b" }, "is not a bucket's name"],
    [{ provider: "Wasabi" }, "only AWS is found without an endpoint"],
    [{ prefix: "a\nb" }, "control characters"],
  ])("with %j is refused", (special, message) => {
    const location = { bucket: "b", prefix: "p", credentials, ...special };
    expect(() => openObjectStore(location, {})).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining(message),
      }),
    );
  });

  it("names the file of certificates that cannot be read", () => {
    const location = { bucket: "b", prefix: "p", credentials };
    expect(() => openObjectStore(location, { SSL_CERT_FILE: "/no/such/file" })).toThrow(
      /SSL_CERT_FILE: ENOENT/,
    );
  });
});

function catchError(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return expect.unreachable();
}
