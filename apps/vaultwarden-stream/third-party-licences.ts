import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Rolldown } from "tsdown";

/** Writes `third-party-licences.txt` beside the bundle: whose code is in it, and under which terms, in their own words. */
export function thirdPartyLicences(): Rolldown.Plugin {
  return {
    name: "third-party-licences",
    generateBundle(_options, bundle) {
      const packages = new Set<string>();
      for (const output of Object.values(bundle)) {
        if (output.type !== "chunk") continue;
        for (const module of output.moduleIds) {
          const directory = /^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(module)?.[1];
          if (directory !== undefined) packages.add(directory);
        }
      }
      const entries = [...packages].map(describePackage).sort();
      this.emitFile({
        type: "asset",
        fileName: "third-party-licences.txt",
        source: entries.join(`\n${"-".repeat(80)}\n\n`),
      });
    },
  };
}

function describePackage(directory: string): string {
  const { name, version, license } = JSON.parse(
    readFileSync(join(directory, "package.json"), "utf8"),
  ) as { name: string; version: string; license?: string };
  const texts = readdirSync(directory)
    .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
    .map((file) => readFileSync(join(directory, file), "utf8").trim());
  if (license === undefined && texts.length === 0) {
    throw new Error(`${name}@${version} says nothing about its licence`);
  }
  return `${name} ${version} (${license ?? "see below"})\n\n${texts.join("\n\n")}\n`;
}
