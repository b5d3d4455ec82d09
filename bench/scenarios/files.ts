import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { digestTree, makeFileTree, type TreeShape } from "../file-tree.ts";
import { PushingProcess, pullCommand } from "../files-ours.ts";
import { type MeasuredRun, runMeasured } from "../measured-run.ts";
import type { Place } from "../place.ts";
import { rcloneEnvironment, rclonePath, rcloneSyncCommand } from "../rclone.ts";
import { type Requests, requestFigures } from "../request-figures.ts";
import {
  barAgainstStock,
  type Figure,
  megabyte,
  type Scenario,
  type ScenarioContext,
} from "../scenario.ts";

const shape: TreeShape = {
  smallCount: 10_000,
  smallBytes: 6_000,
  largeCount: 4,
  largeBytes: 500 * megabyte,
};
const quickShape: TreeShape = {
  smallCount: 1_000,
  smallBytes: 6_000,
  largeCount: 4,
  largeBytes: 25 * megabyte,
};
/** The defaults of file-sync; rclone is told to use the same. */
const uploadsAtOnce = 4;
const downloadsAtOnce = 8;
const lookBarSeconds = 1;
const memoryBarMb = 200;
const tunedSettings = ["--fast-list", "--checksum"];

/** What one contender did with the tree, from an empty place to a copy of it. */
interface Course {
  readonly push: Step;
  /** Nothing has changed; ours is a process that goes on, rclone a new one each time. */
  readonly look: Step;
  /** As `look`, by a new process of ours. It asks for the newest manifest first. */
  readonly restart: Step;
  /** Of the restart, the push alone. */
  readonly restartLookSeconds: number | undefined;
  readonly newFile: Step;
  readonly pull: Step;
}

interface Step extends MeasuredRun {
  readonly requests: Requests;
}

interface Job {
  readonly context: ScenarioContext;
  readonly tree: string;
  readonly place: Place;
  /** Where to pull to. Not there yet. */
  readonly target: string;
  addFile(): Promise<void>;
}

export const filesScenario: Scenario = {
  name: "files",
  summary: `small files and 4 large ones; rclone sync with its defaults and, tuned, with ${tunedSettings.join(" ")}; for all, ${uploadsAtOnce} transfers up and ${downloadsAtOnce} down; ours has synced to the disk what it pulls, rclone has not`,
  runsAt: "each-latency",
  needs: "s3",
  columns: ["ours", "rclone", "rclone tuned"],
  async run(context) {
    const { rclone } = context.contenders;
    const tree = join(context.directory, "tree");
    context.say("writing the files");
    await makeFileTree(tree, context.quick ? quickShape : shape);
    const added = { path: join(tree, "added"), bytes: randomBytes(shape.smallBytes) };
    let digest: string | undefined;
    const take = async (
      name: string,
      run: (job: Job) => Promise<Course>,
    ): Promise<Course & { readonly isSame: boolean }> => {
      context.say(name);
      // Else whoever comes first pays for the writing of the files, and the others for what came before them.
      execFileSync("sync");
      using place = await context.store.makePlace(name);
      const target = join(context.directory, "pulled");
      const addFile = (): Promise<void> => writeFile(added.path, added.bytes);
      const course = await run({ context, tree, place, target, addFile });
      digest ??= await digestTree(tree);
      const isSame = (await digestTree(target)) === digest;
      await rm(target, { recursive: true });
      await rm(added.path);
      return { ...course, isSame };
    };
    const ours = await take("ours", runOurs);
    if (rclone === undefined) return toFigures(ours, undefined, undefined);
    const stock = await take("rclone", (job) => runRclone(rclone, [], job));
    const tuned = await take("rclone-tuned", (job) => runRclone(rclone, tunedSettings, job));
    return toFigures(ours, stock, tuned);
  },
};

async function runOurs({ context, tree, place, target, addFile }: Job): Promise<Course> {
  const { url, env } = place;
  const stateDirectory = join(context.directory, "state");
  const { nodeArguments } = context.contenders;
  const options = { url, tree, stateDirectory, parallel: uploadsAtOnce, nodeArguments };
  let pushes: Pick<Course, "push" | "look">;
  {
    await using process = new PushingProcess(options, env);
    const push = await measure(place, () => process.first());
    pushes = { push, look: await measure(place, () => process.again()) };
  }
  let restarts: Pick<Course, "restart" | "restartLookSeconds" | "newFile">;
  {
    await using process = new PushingProcess(options, env);
    const restart = await measure(place, () => process.first());
    await addFile();
    const newFile = await measure(place, () => process.again());
    restarts = { restart, restartLookSeconds: restart.pushSeconds, newFile };
  }
  const command = pullCommand(nodeArguments, url, target, downloadsAtOnce);
  const pull = await measure(place, () => runMeasured(command, env));
  return { ...pushes, ...restarts, pull };
}

async function runRclone(
  rclone: string,
  settings: readonly string[],
  { tree, place, target, addFile }: Job,
): Promise<Course> {
  const sync = (from: string, to: string, transfers: number): Promise<Step> => {
    const command = rcloneSyncCommand(rclone, { from, to, transfers }, settings);
    return measure(place, () => runMeasured(command, rcloneEnvironment(place)));
  };
  const remote = rclonePath(place);
  const push = await sync(tree, remote, uploadsAtOnce);
  const look = await sync(tree, remote, uploadsAtOnce);
  await addFile();
  const newFile = await sync(tree, remote, uploadsAtOnce);
  const pull = await sync(remote, target, downloadsAtOnce);
  return { push, look, restart: look, restartLookSeconds: undefined, newFile, pull };
}

async function measure<Run extends MeasuredRun>(
  { log }: Place,
  run: () => Promise<Run>,
): Promise<Run & { readonly requests: Requests }> {
  const requestsBefore = log?.requests.length;
  const measured = await run();
  await log?.settle();
  return { ...measured, requests: log?.requests.slice(requestsBefore) };
}

type Checked = Course & { readonly isSame: boolean };

type StepName = "push" | "look" | "restart" | "newFile" | "pull";

interface StepBars {
  readonly seconds?: Figure["bar"];
  readonly requests?: Figure["bar"];
}

function toFigures(
  ours: Checked,
  stock: Checked | undefined,
  tuned: Checked | undefined,
): Figure[] {
  const each = (of: (course: Checked) => number | undefined) => ({
    ours: of(ours),
    stock: stock && of(stock),
    tuned: tuned && of(tuned),
  });
  const figuresOf = (name: string, step: StepName, bars: StepBars = {}): Figure[] => [
    withBar(
      { name: `${name}: wall time`, unit: "s", ...each((c) => c[step].seconds) },
      bars.seconds,
    ),
    { name: `${name}: CPU`, unit: "s", ...each((c) => c[step].cpuSeconds) },
    {
      name: `${name}: peak memory`,
      unit: "MB",
      ...each((c) => c[step].peakBytes / megabyte),
      bar: { text: `≤ ${memoryBarMb} MB`, isHeld: ours[step].peakBytes <= memoryBarMb * megabyte },
    },
    withBar(
      { name: `${name}: requests`, unit: "", ...each((c) => c[step].requests?.length) },
      bars.requests,
    ),
    ...requestFigures(name, ours[step].requests, stock?.[step].requests, tuned?.[step].requests),
  ];
  /** Against the faster of the two. */
  const notSlower = (step: StepName): Figure["bar"] => {
    const best = Math.min(...[stock, tuned].map((other) => other?.[step].seconds ?? Infinity));
    return barAgainstStock(
      "≤ rclone",
      ours[step].seconds,
      Number.isFinite(best) ? best : undefined,
      (a, b) => a <= b,
    );
  };
  const { look, newFile, restartLookSeconds = Number.NaN } = ours;
  const underASecond = { text: `< ${lookBarSeconds} s`, isHeld: look.seconds < lookBarSeconds };
  return [
    ...figuresOf("first push", "push", { seconds: notSlower("push") }),
    ...figuresOf("unchanged", "look", {
      seconds: underASecond,
      requests: { text: "none", isHeld: look.requests?.length === 0 },
    }),
    ...figuresOf("unchanged, after a restart", "restart", {
      requests: {
        text: "LIST, and GET of a manifest",
        isHeld: namesOf(ours.restart.requests) === "GET manifest, LIST",
      },
    }),
    {
      name: "unchanged, after a restart: the look alone",
      unit: "s",
      ours: restartLookSeconds,
      stock: undefined,
      bar: { text: `< ${lookBarSeconds} s`, isHeld: restartLookSeconds < lookBarSeconds },
    },
    ...figuresOf("one new file", "newFile", {
      requests: {
        text: "blob, manifest, pointer",
        isHeld: namesOf(newFile.requests) === "PUT blob, PUT manifest, PUT pointer",
      },
    }),
    ...figuresOf("pull", "pull", { seconds: notSlower("pull") }),
    {
      name: "what was pulled is the tree, byte for byte",
      unit: "",
      ...each(({ isSame }) => (isSame ? 1 : 0)),
      bar: {
        text: "yes",
        isHeld: [ours, stock, tuned].every((course) => course?.isSame !== false),
      },
    },
  ];
}

function withBar(figure: Figure, bar: Figure["bar"]): Figure {
  return bar === undefined ? figure : { ...figure, bar };
}

/** What was asked of which kind of object, sorted. */
function namesOf(requests: Requests): string {
  const kinds = [
    ["/files/blobs/", "blob"],
    ["/files/manifests/", "manifest"],
    ["/files/current.json", "pointer"],
  ] as const;
  const names = requests?.map(({ operation, key }) => {
    // A listing has its prefix in its query, which is not kept.
    const kind = kinds.find(([part]) => key.includes(part))?.[1] ?? key;
    return `${operation} ${kind}`.trim();
  });
  return names?.sort().join(", ") ?? "";
}
