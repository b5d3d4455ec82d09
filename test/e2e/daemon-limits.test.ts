import { expect, it } from "vitest";
import { Site, untilStored } from "./daemon-harness.ts";

it("stops uploads at an hour's budget, aloud and everywhere, while vault and lease go on; with a larger one everything is stored", async () => {
  await using site = new Site();
  const daemon = await site.run("a", {
    STORE_HOURLY_OBJECTS_MAX: "12",
    REPLICATION_SHUTDOWN_TIMEOUT: "1",
    SYNC_SHUTDOWN_TIMEOUT: "1",
  });
  const client = await daemon.register();
  const complaint = "uploads are stopped: of the 12 objects";
  // Several of them become one object where the machine is slow.
  for (let index = 0; index < 200 && !daemon.stderr.includes(complaint); index++) {
    await client.createItem({ name: `item ${index}` });
  }
  await daemon.logged(complaint);
  await expect
    .poll(async () => (await site.command("a", "healthcheck")).stderr)
    .toContain("UNHEALTHY: uploads are stopped until");
  const { stdout } = await site.command("a", "status", "--json");
  const status = JSON.parse(stdout);
  expect(status).toMatchObject({
    status: "error",
    budget: { objectsMax: 12, stoppedUntil: expect.any(String) },
    failure: { code: "BUDGET_EXCEEDED" },
    leaseFailure: null,
  });
  expect(status.waitingFiles).toBeGreaterThan(0);
  const url = /status over HTTP: (http:\/\/[^\s/]+)/.exec(daemon.stderr)?.[1] ?? "";
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain("vaultwarden_stream_budget_exceeded 1\n");
  expect(metrics).toContain("vaultwarden_stream_healthy 0\n");
  expect(metrics).toMatch(/vaultwarden_stream_uploads_total\{level="0"\} \d+\n/);
  // The vault itself does not notice.
  await client.createItem({ name: "one more" });
  expect((await daemon.end()).code).not.toBe(0);

  const again = await site.run("a", { STORE_HOURLY_OBJECTS_MAX: "off" });
  await again.ready();
  await untilStored(site, "a");
  expect((await again.end()).code).toBe(0);
});

it("takes rclone's bandwidth limit for its own, and stores everything all the same", async () => {
  await using site = new Site();
  const daemon = await site.run("a", { RCLONE_FLAGS: "--bwlimit 256k" });
  const client = await daemon.register();
  await client.createItem({ name: "slowly" });
  await untilStored(site, "a");
  expect((await daemon.end()).code).toBe(0);
});
