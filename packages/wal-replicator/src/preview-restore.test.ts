import { openObjectStore } from "@vaultwarden-stream/object-store";
import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { toTxid } from "./ltx/txid.ts";
import { previewRestore } from "./preview-restore.ts";

let server: S3Server;
beforeEach(async () => {
  server = await startS3Server();
});
afterEach(() => server.stop());

const at = (minute: number) => new Date(Date.UTC(2026, 2, 1, 0, minute));
const hex = (txid: number) => txid.toString(16).padStart(16, "0");

it("says what a restore would bring back, by the time of the content and not of its upload", async () => {
  const { bucket, endpoint, region, credentials } = server;
  const replica = { bucket, prefix: "p", endpoint, region, credentials };
  const store = openObjectStore(replica);
  const put = (level: string, min: number, max: number) =>
    store.put(`${level}/${hex(min)}-${hex(max)}.ltx`, new Uint8Array(200), { timestamp: at(max) });
  await put("0000", 1, 1);
  await put("0001", 2, 20);
  await put("0001", 21, 40);
  expect(await previewRestore({ replica, before: at(30) })).toEqual({
    timeline: "",
    txid: toTxid(20),
    at: at(20),
    fileCount: 2,
    bytes: 400,
  });
  expect(await previewRestore({ replica })).toMatchObject({ txid: toTxid(40), fileCount: 3 });
  const early = previewRestore({ replica, before: at(1) });
  await expect(early).rejects.toMatchObject({
    code: "TIME_NOT_REACHABLE",
    hint: expect.stringContaining(`The earliest moment is ${at(1).toISOString()}`),
  });
  const inside = previewRestore({ replica, txid: toTxid(30) });
  await expect(inside).rejects.toMatchObject({ code: "TXID_NOT_REACHABLE" });
});
