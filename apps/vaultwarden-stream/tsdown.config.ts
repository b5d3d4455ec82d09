import type { UserConfig } from "tsdown";

const config: UserConfig = {
  entry: ["src/main.ts"],
  format: "esm",
  platform: "node",
};

export default config;
