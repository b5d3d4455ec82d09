import { MemoryStore, type ObjectStore, openObjectStore } from "@vaultwarden-stream/object-store";
import { type S3FaultPlan, type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { diagnoseStore } from "./diagnose-store.ts";

let server: S3Server | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function openS3(
  options: { personality?: "aws" | "garage-ignores"; faults?: S3FaultPlan } = {},
): Promise<ObjectStore> {
  server = await startS3Server(options);
  const { endpoint, bucket, region, credentials } = server;
  return openObjectStore({ bucket, endpoint, region, prefix: "vault", credentials }, {});
}

function look(store: ObjectStore, now: () => number = Date.now) {
  return diagnoseStore({ store, patient: store }, { now });
}

/** `list: ok` … */
async function outcomes(store: ObjectStore, now?: () => number): Promise<Record<string, string>> {
  const findings = await look(store, now);
  return Object.fromEntries(findings.map(({ check, outcome }) => [check, outcome]));
}

const allWell = {
  list: "ok",
  "missing objects": "ok",
  put: "ok",
  clock: "ok",
  get: "ok",
  delete: "ok",
  "second writer": "ok",
};

it("finds nothing wrong with a store that is well, and leaves nothing behind in it", async () => {
  expect(await outcomes(await openS3())).toEqual({ ...allWell, "multipart uploads": "note" });
  expect([...(server?.objects.keys() ?? [])]).toEqual([]);
  const memory = new MemoryStore();
  expect(await outcomes(memory)).toEqual(allWell);
  for await (const page of memory.list("")) expect(page).toEqual([]);
});

it("warns where a second writer is only detected", async () => {
  const findings = await look(await openS3({ personality: "garage-ignores" }));
  expect(findings.find(({ check }) => check === "second writer")).toMatchObject({
    outcome: "warning",
    message: expect.stringContaining("(ignored)"),
    remedy: expect.stringContaining("only one machine"),
  });
});

describe("permissions", () => {
  function forbids(
    operation: "PutObject" | "DeleteObject" | "HeadObject" | "GetObject" | "ListObjects",
  ) {
    return openS3({
      faults: [
        { match: { operation }, fault: { kind: "answer", status: 403, code: "AccessDenied" } },
      ],
    });
  }

  it.each([
    ["PutObject", "put", "problem"],
    ["GetObject", "get", "problem"],
    ["DeleteObject", "delete", "warning"],
  ] as const)("a refused %s is found", async (operation, check, outcome) => {
    const findings = await look(await forbids(operation));
    const finding = findings.find((one) => one.check === check);
    expect(finding).toMatchObject({ outcome, remedy: expect.stringMatching(/./) });
    expect(findings.find((one) => one.check === "list")?.outcome).toBe("ok");
  });

  it("a missing object that looks forbidden is a problem of its own", async () => {
    const findings = await look(await forbids("HeadObject"));
    expect(findings.find(({ check }) => check === "missing objects")).toMatchObject({
      outcome: "problem",
      message: expect.stringContaining("cannot be told from a forbidden one"),
    });
  });

  it("without the right to list, everything else is tried all the same", async () => {
    const found = await outcomes(await forbids("ListObjects"));
    expect(found).toMatchObject({ list: "problem", put: "ok", get: "ok", delete: "ok" });
  });
});

describe("clocks", () => {
  it.each([
    [0, "ok"],
    [55_000, "ok"],
    [-55_000, "ok"],
    [70_000, "warning"],
    [-70_000, "warning"],
    [400_000, "problem"],
    [-400_000, "problem"],
  ])("%d ms between this machine and the store are %s", async (skewMs, outcome) => {
    const found = await outcomes(new MemoryStore(), () => Date.now() + skewMs);
    expect(found).toMatchObject({ clock: outcome });
  });
});

it("finds a store that loses metadata, and one that returns other bytes", async () => {
  const garbled = await openS3({
    faults: [
      {
        match: { operation: "GetObject", keyPattern: "doctor" },
        fault: { kind: "garble", during: "response" },
      },
    ],
  });
  expect(await outcomes(garbled)).toMatchObject({ get: "problem", delete: "ok" });
});

it("asks nothing more of a store that does not answer", async () => {
  const store = openObjectStore({
    bucket: "b",
    endpoint: "http://127.0.0.1:1",
    region: "us-east-1",
    prefix: "",
    credentials: { accessKeyId: "a", secretAccessKey: "s" },
  });
  const findings = await look(store);
  expect(findings).toMatchObject([{ check: "list", outcome: "problem" }]);
  expect(findings[0]?.message).toContain("UNREACHABLE");
});
