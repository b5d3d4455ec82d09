import { expect, it } from "vitest";
import { isLoopback } from "./listen-address.ts";

it.each(["127.0.0.1", "127.255.0.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "LocalHost"])(
  "only this machine reaches %s",
  (host) => {
    expect(isLoopback(host)).toBe(true);
  },
);

it.each([
  "0.0.0.0",
  "::",
  "10.0.0.1",
  "128.0.0.1",
  "::ffff:10.0.0.1",
  "fe80::1",
  "localhost.example.org",
])("others may reach %s", (host) => {
  expect(isLoopback(host)).toBe(false);
});
