import type { UserConfig } from "tsdown";

const config: UserConfig = {
  entry: ["src/index.ts"],
  format: "esm",
  dts: true,
  unbundle: true,
  platform: "node",
};

export default config;
