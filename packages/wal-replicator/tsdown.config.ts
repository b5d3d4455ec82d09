import type { UserConfig } from "tsdown";

const config: UserConfig = {
  // The helper is an entry of its own: the library starts it as a separate process.
  entry: ["src/index.ts", "src/command-line/index.ts", "src/main.ts", "src/helper/helper-main.ts"],
  format: "esm",
  dts: true,
  unbundle: true,
  platform: "node",
};

export default config;
