import { describe, it } from "vitest";
import { scenarios } from "./scenarios.ts";
import { Stage } from "./stage.ts";

for (const store of ["directory", "aws"] as const) {
  describe(store, () => {
    for (const { name, play } of scenarios) {
      it(name, async () => {
        await using stage = await Stage.open({ store });
        await play(stage);
      });
    }
  });
}
