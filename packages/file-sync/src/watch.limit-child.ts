/** A child of `watch.test.ts`: watches the directory that its argument names, and says what failed on the way. */
import { watchRoots } from "./watch.ts";

const [path = ""] = process.argv.slice(2);
const failures: (string | undefined)[] = [];
const watch = await watchRoots({
  roots: [{ name: "files", kind: "directory", path }],
  onHint: () => undefined,
  onFailing: (error) => failures.push((error as NodeJS.ErrnoException).code),
});
await watch.close();
process.stdout.write(JSON.stringify(failures));
