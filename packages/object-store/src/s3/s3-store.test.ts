import { type S3PersonalityName, type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe } from "vitest";
import { defineConformanceTests } from "../conformance.ts";
import type { ObjectStore } from "../object-store.ts";
import { openObjectStore } from "../open-store.ts";

// Goal: the contract holds over S3 whatever LIST is like. Method: the conformance suite on our own server, which checks every signature.

describe.each([
  { personality: "aws", provider: "AWS" },
  { personality: "list-v1-only", provider: "Other" },
  { personality: "storj-unsorted", provider: "Storj" },
] satisfies { personality: S3PersonalityName; provider: string }[])("$personality", (row) => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3Server({ personality: row.personality });
  });
  afterAll(() => server.stop());

  let storeCount = 0;
  defineConformanceTests(`S3Store for ${row.provider}`, () => {
    const { bucket, endpoint, region, credentials } = server;
    const prefix = `case-${++storeCount}`;
    const open = (): ObjectStore =>
      openObjectStore(
        {
          bucket,
          prefix,
          endpoint,
          region,
          credentials,
          provider: row.provider,
          forcePathStyle: true,
        },
        {},
      );
    return { store: open(), reopen: open };
  });
});
