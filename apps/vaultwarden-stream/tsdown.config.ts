import { globSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import type { UserConfig } from "tsdown";
import { thirdPartyLicences } from "./third-party-licences.ts";

const engine = fileURLToPath(new URL("../../packages/wal-replicator/src", import.meta.url));
/** What the engine starts as processes and threads of its own; it looks for them beside itself, by these names. */
const startedByEngine = globSync(`${engine}/*/*-main.ts`).map((path) => [
  basename(path, ".ts"),
  path,
]);
const nativeModules = ["better-sqlite3", "lz4-napi"];

/**
 * One directory of few files that needs nothing but the native modules beside it. The health check starts Node every 30 seconds, and that
 * takes half the time when it need not look for a thousand files in node_modules.
 */
const config: UserConfig = {
  entry: {
    main: "src/main.ts",
    "wal-replicator": `${engine}/main.ts`,
    ...Object.fromEntries(startedByEngine),
  },
  format: "esm",
  platform: "node",
  dts: false,
  deps: { alwaysBundle: /./, neverBundle: nativeModules, onlyImport: nativeModules },
  // From sources, as everything else here: no order of builds, and no stale ones.
  inputOptions: { resolve: { conditionNames: ["@vaultwarden-stream/source", "node", "import"] } },
  plugins: [thirdPartyLicences()],
};

export default config;
