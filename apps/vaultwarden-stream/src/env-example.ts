import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { renderEnvExample } from "./config/render-env-example.ts";

/** Writes the repository's `.env.example` anew from the table of variables. */
const path = fileURLToPath(new URL("../../../.env.example", import.meta.url));
writeFileSync(path, renderEnvExample());
process.stdout.write(`${path}\n`);
