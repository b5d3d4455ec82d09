import { describePeer, seedFromEnvironment } from "@vaultwarden-stream/testkit";
import { describe, expect, it } from "vitest";
import { runOracle } from "./oracle-run.ts";

/** How many seeds run; each is a life of about ten seconds. */
const seedCount = Number(process.env["ORACLE_SEEDS"] ?? 12);

describePeer(describe, "sqlite3", "page-exact oracle", () => {
  const first = seedFromEnvironment();
  for (let index = 0; index < seedCount; index++) {
    const seed = (first + index) >>> 0;
    it(`seed ${seed}: every remembered TXID restores to the pages that SQLite showed`, async () => {
      const result = await runOracle({ seed, rounds: 12 });
      expect(result.compared).toBeGreaterThan(5);
    });
  }
});
