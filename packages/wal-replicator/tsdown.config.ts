import type { UserConfig } from "tsdown";

const config: UserConfig = {
  entry: [
    "src/index.ts",
    "src/command-line/index.ts",
    "src/main.ts",
    // Entries of their own: the library starts them as processes, and the second as a thread.
    "src/helper/helper-main.ts",
    "src/restore/apply-thread-main.ts",
    "src/watch/check-source-main.ts",
  ],
  format: "esm",
  dts: true,
  unbundle: true,
  platform: "node",
};

export default config;
