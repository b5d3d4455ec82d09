import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { ClientRequest } from "node:http";
import { openObjectStore, probeConditionalWrites } from "@vaultwarden-stream/object-store";
import { defineConformanceTests } from "@vaultwarden-stream/object-store/conformance";
import {
  describePeer,
  type RealS3Server,
  startMinio,
  startVersityGw,
} from "@vaultwarden-stream/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// Goal: the contract, and the verdict on conditional writes, on servers that we did not write.

const servers = [
  { peer: "minio", provider: "Minio", start: startMinio, limits: {} },
  {
    peer: "versitygw",
    provider: "VersityGW",
    start: startVersityGw,
    // It keeps them as escaped JSON in one extended attribute, of which ext4 takes 4 KiB.
    limits: { metadataBytesMax: 1000 },
  },
] as const;

for (const { peer, provider, start, limits } of servers) {
  describePeer(describe, peer, `S3Store on ${provider}`, () => {
    let server: RealS3Server;
    beforeAll(async () => {
      server = await start();
    });
    afterAll(() => server.stop());

    let storeCount = 0;
    const openEmpty = () => {
      const { bucket, endpoint, region, credentials } = server;
      const prefix = `case-${++storeCount}`;
      const open = () =>
        openObjectStore({ bucket, prefix, endpoint, region, credentials, provider }, {});
      return { store: open(), reopen: open, ...limits };
    };

    defineConformanceTests(`${provider}`, openEmpty);

    it("takes bulk deletes as we write them", async () => {
      const { store } = openEmpty();
      const keys = Array.from({ length: 1000 }, (_, index) => `d/${index}`);
      for (const key of ["kept", ...keys.slice(0, 20)]) await store.put(key, new Uint8Array(1));
      const methods: string[] = [];
      const note = (message: unknown) =>
        methods.push((message as { request: ClientRequest }).request.method);
      subscribe("http.client.request.start", note);
      await store.deleteAll(keys).finally(() => unsubscribe("http.client.request.start", note));
      expect(methods).toEqual(["POST"]);
      const left: string[] = [];
      for await (const page of store.list("")) left.push(...page.map(({ key }) => key));
      expect(left).toEqual(["kept"]);
    });

    // VersityGW judged before it read the body until v1.7; v1.8 judges again when it commits.
    it("is found atomic, and keeps no scratch objects", async () => {
      const { store } = openEmpty();
      const report = await probeConditionalWrites(store);
      expect(report).toMatchObject({ verdict: "atomic", leftKeys: [] });
      for await (const page of store.list("")) expect(page).toEqual([]);
    });
  });
}
