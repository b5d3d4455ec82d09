/** A process that swaps trees and dies where its crash arguments say. Arguments: the journal, and the swaps as JSON. */
import { argumentsWithoutCrashPoint, crashPointsFromArguments } from "@vaultwarden-stream/testkit";
import type { TreeSwap } from "./swap-moves.ts";
import { swapTrees } from "./swap-tree.ts";

const [journal = "", swaps = ""] = argumentsWithoutCrashPoint();
await swapTrees(JSON.parse(swaps) as TreeSwap[], { journal, at: crashPointsFromArguments() });
