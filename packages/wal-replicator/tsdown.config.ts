import type { UserConfig } from "tsdown";

const config: UserConfig = {
  entry: [
    "src/index.ts",
    "src/command-line/index.ts",
    "src/main.ts",
    // Entries of their own: the library starts the one as a process, the other as a thread.
    "src/helper/helper-main.ts",
    "src/restore/apply-thread-main.ts",
  ],
  format: "esm",
  dts: true,
  unbundle: true,
  platform: "node",
};

export default config;
