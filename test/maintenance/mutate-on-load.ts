import { registerHooks } from "node:module";
import { type Mutation, mutate } from "./mutation.ts";

/**
 * Preloaded into a simulation, it changes the engine's sources as they are loaded: what runs is the code that ships, less one rule, and no copy of it
 * has to be kept anywhere.
 */
const { edits } = JSON.parse(process.env["SIM_MUTATION"] ?? "") as Mutation;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const own = edits.filter(({ file }) => url.endsWith(`/packages/${file}`));
    if (own.length === 0) return loaded;
    return { ...loaded, source: own.reduce(mutate, String(loaded.source)) };
  },
});
