import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
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
  "s3://bucket/prefix",
  "gs://bucket",
  "https://example.org/bucket",
  "file:bk",
  "file://bk/replica",
  "file:///bk?x=1",
  "file:///bk#x",
  "file:///a%2Fb",
  "s3:bucket",
])("refuses %j with a hint", (location) => {
  expect(() => openObjectStore(location)).toThrow(
    expect.objectContaining({
      code: "INVALID_ARGUMENT",
      hint: expect.stringContaining("file:///absolute/path"),
    }),
  );
});

it("does not show credentials of a URL", () => {
  expect(() => openObjectStore("s3://user:secret@host/bucket")).toThrow(
    expect.objectContaining({
      message: expect.not.stringContaining("secret"),
      key: "s3://host/bucket",
    }),
  );
});
