import { startReplicator } from "../replicator.ts";
import { HelperSession } from "./helper-session.ts";

// The entry of the helper process: `helper-client.ts` starts it, or a bundler's copy of it.
new HelperSession(startReplicator).run();
