/** Writes two objects into the directory of its argument, slowly, and prints a line per chunk, until it is killed by its test. */
import { setImmediate } from "node:timers/promises";
import { DirectoryStore } from "./directory-store.ts";
import type { ObjectBody } from "./object-store.ts";

const chunkCount = 1_000_000;
const chunk = new Uint8Array(300_000).fill(7);
const body: ObjectBody = {
  size: chunk.length * chunkCount,
  open: async function* () {
    for (let index = 0; index < chunkCount; index++) {
      process.stdout.write(`${index}\n`);
      yield chunk;
      // Lets the other writer have its turn, and the pipe be read.
      for (let turn = 0; turn < 1000; turn++) await setImmediate();
    }
  },
};

const store = new DirectoryStore(process.argv[2] ?? "");
const metadata = { nonce: "n" };
await Promise.all([
  store.put("replaced", body, { metadata }),
  store.putIfAbsent("created", body, { metadata }),
]);
