/** Pulls files from a store, and says how much memory that took. Arguments: the store, where to build, the entries as JSON. */
import { type ManifestEntry, pullTree } from "@vaultwarden-stream/file-sync";
import { openObjectStore } from "@vaultwarden-stream/object-store";

const [location = "", building = "", entries = "[]"] = process.argv.slice(2);
const { bad, fetchedBytes } = await pullTree({
  store: openObjectStore(location),
  entries: JSON.parse(entries) as ManifestEntry[],
  roots: [{ name: "r", kind: "directory", path: `${building}-live` }],
  building: () => building,
});
// Kibibytes, whatever the manual says of kilobytes.
const memoryBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(JSON.stringify({ bad, fetchedBytes, memoryBytes }));
