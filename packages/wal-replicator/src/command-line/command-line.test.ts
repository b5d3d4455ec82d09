import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { type CommandLine, type CommandSpec, runCommandLine } from "./command-line.ts";
import { confirm } from "./confirm.ts";
import { parseTime } from "./parse-time.ts";
import type { CommandLineStreams } from "./streams.ts";

interface DigOptions {
  readonly at?: Date;
  readonly deep?: true;
  readonly yes?: true;
}

const dig: CommandSpec<DigOptions> = {
  name: "dig",
  summary: "Digs.",
  args: [
    ["<place>", "where"],
    ["[command...]", "what to run"],
  ],
  options: [
    { flags: "--at <time>", description: "when", parse: parseTime },
    { flags: "--deep", description: "deeper" },
    { flags: "--yes", description: "do not ask" },
  ],
  examples: ["tool dig here", "tool dig there --deep"],
  doing: (call) => `digging at ${call.args[0]}`,
  async run({ args, options, output, streams, behindDashes }) {
    if (args[0] === "fail") throw Object.assign(new Error("rock"), { code: "UNREACHABLE" });
    if (args[0] === "replace")
      await confirm({ text: "Replace it?", yes: options.yes === true, option: "--yes" }, streams);
    output.info("digging");
    output.debug("with a spade");
    output.result(
      { place: args[0], at: options.at ?? null, behind: behindDashes ?? null },
      "a hole",
    );
    return args[0] === "seven" ? 7 : undefined;
  },
};

const line: CommandLine = {
  name: "tool",
  description: "A tool.",
  version: "1.2.3",
  commands: [dig],
};

describe("usage", () => {
  it("--help of a command has two examples, exit code 0", async () => {
    const { code, out } = await run("dig", "--help");
    expect(code).toBe(0);
    expect(out).toContain("$ tool dig here");
    expect(out).toContain("$ tool dig there --deep");
    expect(out).toContain("--log-level");
  });

  it("--version goes to stdout", async () => {
    expect(await run("--version")).toEqual({ code: 0, out: "1.2.3\n", err: "" });
  });

  it("no command at all shows help on stderr, exit code 2", async () => {
    const { code, out, err } = await run();
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("dig");
  });

  it.each([
    [["dgi", "x"], "there is no command dgi", "did you mean dig?"],
    [["dig", "x", "--depe"], "there is no option --depe", "did you mean --deep?"],
    [["dig", "x", "--log-level", "debgu"], "there is no log level debgu", "did you mean debug?"],
    [["dig", "x", "--follow"], "there is no option --follow", "see `tool dig --help`"],
    [["dig"], "cannot run `tool dig`", "see `tool dig --help`"],
    [["dig", "x", "--at"], "cannot run `tool dig`", "see `tool dig --help`"],
    [["dig", "x", "--at", "2h"], '"2h" is not a time', '"2h ago"'],
  ])("%j is answered in three lines, exit code 2", async (argv, what, next) => {
    const { code, out, err } = await run(...argv);
    const lines = err.trimEnd().split("\n");
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toBe(`tool: ${what}`);
    expect(lines[2]).toContain(next);
  });

  it("with --json the answer to a typo is JSON", async () => {
    const { code, err } = await run("dig", "x", "--depe", "--json");
    expect(code).toBe(2);
    expect(JSON.parse(err).error).toMatchObject({
      code: "USAGE",
      exitCode: 2,
      next: "did you mean --deep?",
    });
  });
});

describe("running", () => {
  it("prints the result on stdout and the rest on stderr", async () => {
    expect(await run("dig", "x")).toEqual({ code: 0, out: "a hole\n", err: "digging\n" });
  });

  it("--quiet leaves the result alone", async () => {
    expect(await run("dig", "x", "--quiet")).toEqual({ code: 0, out: "a hole\n", err: "" });
  });

  it("--log-level debug says more", async () => {
    expect((await run("dig", "x", "--log-level", "debug")).err).toBe(
      "digging\ndebug: with a spade\n",
    );
  });

  it("--json prints one object", async () => {
    const { out, err } = await run("dig", "x", "--json", "--at", "1h ago");
    expect(JSON.parse(out)).toEqual({ place: "x", at: "1969-12-31T23:00:00.000Z", behind: null });
    expect(JSON.parse(err)).toMatchObject({ level: "info", message: "digging" });
  });

  it("hands over what stands behind -- as it is, options included", async () => {
    const { out } = await run("dig", "x", "--json", "--", "sh", "--deep", "--", "-c");
    expect(JSON.parse(out).behind).toEqual(["sh", "--deep", "--", "-c"]);
  });

  it("returns the command's exit code", async () => {
    expect((await run("dig", "seven")).code).toBe(7);
  });

  it("words a failure with what was being done", async () => {
    const { code, out, err } = await run("dig", "fail");
    expect(code).toBe(6);
    expect(out).toBe("");
    expect(err).toMatch(
      /^tool: digging at fail failed\n {2}why: {2}rock \(UNREACHABLE\)\n {2}next: .+\n$/,
    );
  });

  it("--json words a failure as one object", async () => {
    const { err } = await run("dig", "fail", "--json");
    expect(JSON.parse(err).error).toMatchObject({
      code: "UNREACHABLE",
      exitCode: 6,
      what: "digging at fail failed",
    });
  });
});

describe("confirmation", () => {
  it("is refused without a terminal, and says which option answers", async () => {
    const { code, out, err } = await run("dig", "replace");
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("no terminal");
    expect(err).toContain("add --yes");
  });

  it("is given by --yes", async () => {
    expect((await run("dig", "replace", "--yes")).code).toBe(0);
  });

  it.each([
    ["y\n", 0],
    ["yes\n", 0],
    ["n\n", 1],
    ["\n", 1],
    ["\u0004", 1], // Ctrl-D
    ["\u0003", 130], // Ctrl-C
  ])("on a terminal, %j ends with exit code %d", async (answer, code) => {
    const world = fakeStreams({ isTTY: true });
    world.stdin.write(answer);
    expect(await runCommandLine(line, ["dig", "replace"], world.streams)).toBe(code);
    expect(world.err()).toContain("Replace it? [y/N]");
  });
});

describe("progress", () => {
  const work: CommandSpec<object> = {
    name: "work",
    summary: "Works.",
    args: [],
    options: [],
    examples: ["tool work", "tool work --quiet"],
    async run({ output, streams }) {
      const progress = output.progress("working");
      for (let step = 0; step <= 20; step += 1) {
        (streams as { advance(ms: number): void } & CommandLineStreams).advance(1_000);
        progress.update(step * 1024, 20 * 1024);
      }
      output.info("done");
      return undefined;
    },
  };
  const working: CommandLine = { ...line, commands: [work] };

  it("is a line every ten seconds without a terminal", async () => {
    const world = fakeStreams({});
    await runCommandLine(working, ["work"], world.streams);
    expect(world.err().split("\n")).toEqual([
      "working: 9.0 KiB of 20.0 KiB, 922 B/s, 12.2 s left",
      "working: 19.0 KiB of 20.0 KiB, 973 B/s, 1.1 s left",
      "done",
      "",
    ]);
  });

  it("is a bar on a terminal, and gone before the next message", async () => {
    const world = fakeStreams({ isTTY: true });
    await runCommandLine(working, ["work"], world.streams);
    expect(world.err()).toContain("[############------------]  50 %");
    expect(world.err()).toContain("\r\u001b[2Kdone\n");
  });

  it("is nothing with --quiet", async () => {
    const world = fakeStreams({ isTTY: true });
    await runCommandLine(working, ["work", "--quiet"], world.streams);
    expect(world.err()).toBe("");
  });
});

describe("colour", () => {
  const warn: CommandSpec<object> = {
    name: "warn",
    summary: "Warns.",
    args: [],
    options: [],
    examples: ["tool warn", "tool warn --json"],
    async run({ output }) {
      output.warn("careful");
      return undefined;
    },
  };

  it.each([
    [{ isTTY: true }, "\u001b[33mwarning: \u001b[0mcareful\n"],
    [{ isTTY: true, env: { NO_COLOR: "1" } }, "warning: careful\n"],
    [{}, "warning: careful\n"],
  ])("%j", async (world, expected) => {
    const fake = fakeStreams(world);
    await runCommandLine({ ...line, commands: [warn] }, ["warn"], fake.streams);
    expect(fake.err()).toBe(expected);
  });
});

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const world = fakeStreams({});
  const code = await runCommandLine(line, argv, world.streams);
  return { code, out: world.out(), err: world.err() };
}

function fakeStreams(world: { isTTY?: boolean; env?: Record<string, string> }) {
  const isTTY = world.isTTY === true;
  const stdin = Object.assign(new PassThrough(), { isTTY });
  const stdout = Object.assign(new PassThrough(), { isTTY });
  const stderr = Object.assign(new PassThrough(), { isTTY });
  let nowMs = 0;
  const text = (stream: PassThrough): (() => string) => {
    let all = "";
    stream.on("data", (chunk) => {
      all += String(chunk);
    });
    return () => all;
  };
  return {
    stdin,
    out: text(stdout),
    err: text(stderr),
    streams: {
      stdin,
      stdout,
      stderr,
      env: world.env ?? {},
      now: () => nowMs,
      advance: (ms: number) => {
        nowMs += ms;
      },
    },
  };
}
