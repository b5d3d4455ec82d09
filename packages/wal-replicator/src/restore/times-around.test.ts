import { CountingStore, type ObjectStore, openObjectStore } from "@vaultwarden-stream/object-store";
import { type S3Server, startS3Server } from "@vaultwarden-stream/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { toTxid } from "../ltx/txid.ts";
import type { ReplicaFile } from "../replica/catalog.ts";
import { listTimeline } from "../replica/replica.ts";
import { timesAround } from "./times-around.ts";

let server: S3Server;
let store: ObjectStore;
beforeEach(async () => {
  server = await startS3Server();
  const { bucket, endpoint, region, credentials } = server;
  store = openObjectStore({ bucket, prefix: "p", endpoint, region, credentials });
});
afterEach(() => server.stop());

const firstMs = Date.parse("2026-03-01T00:00:00Z");
const minuteMs = 60_000;
const timeline = "00000001-0123abcd";
/** The content of TXID n is of this moment; all of it was stored today. */
const timeOf = (txid: number) => new Date(firstMs + txid * minuteMs);
const hex = (txid: number) => txid.toString(16).padStart(16, "0");

async function store100(): Promise<readonly ReplicaFile[]> {
  for (let txid = 1; txid <= 100; txid += 1) {
    const key = `${timeline}/0000/${hex(txid)}-${hex(txid)}.ltx`;
    await store.put(key, new Uint8Array(200), { timestamp: timeOf(txid) });
    if (txid % 10 > 0) continue;
    const merged = `${timeline}/0001/${hex(txid - 9)}-${hex(txid)}.ltx`;
    await store.put(merged, new Uint8Array(200), { timestamp: timeOf(txid) });
  }
  return (await listTimeline({ store, prefix: "", timelinesUnder: "" }, timeline)).files;
}

it("tells for every file whether its content is before the moment, by few requests", async () => {
  const files = await store100();
  for (const minutes of [0, 1, 2, 37, 40.5, 50, 99, 100, 101]) {
    const moment = new Date(firstMs + minutes * minuteMs);
    const counting = new CountingStore(store);
    const result = await timesAround(counting, files, moment);
    expect(result).toHaveLength(files.length);
    for (const { maxTxid, createdAt } of result) {
      expect(createdAt < moment, `TXID ${maxTxid} at ${minutes}`).toBe(
        timeOf(Number(maxTxid)) < moment,
      );
    }
    for (const level of [0, 1]) {
      const last = result.filter((file) => file.level === level && file.createdAt < moment).at(-1);
      if (last !== undefined) expect(last.createdAt).toEqual(timeOf(Number(last.maxTxid)));
    }
    const { head } = counting.counts;
    expect(head).toBeLessThanOrEqual(7 + 4);
  }
});

it("goes by the listing for a file that was removed meanwhile", async () => {
  const files = await store100();
  const gone = files.filter(({ level, maxTxid }) => level === 0 && maxTxid <= toTxid(60));
  for (const { key } of gone) await store.delete(key);
  const result = await timesAround(store, files, timeOf(80));
  expect(result.filter(({ createdAt }) => createdAt < timeOf(80)).length).toBeGreaterThan(0);
});

it("an error of the store is no answer", async () => {
  const files = await store100();
  await server.stop();
  await expect(timesAround(store, files, timeOf(80))).rejects.toMatchObject({
    code: "UNREACHABLE",
  });
});
