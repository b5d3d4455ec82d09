import { expect, it } from "vitest";
import { EnvFileError, parseEnvFile } from "./env-file.ts";

/** `%{NAME}` here is a variable in braces there: to our linter that would be a slip in a text. */
const written = (text: string): string => text.replaceAll("%{", "${");

it.each<[string, object]>([
  ["", {}],
  ["\n# A=1\n  # B=2\n", {}],
  ["\uFEFFA=1", { A: "1" }],
  ["A=1\r\nB=2\r\n", { A: "1", B: "2" }],
  ["A = 1", { A: "1" }],
  ["A=", { A: "" }],
  ["A=   # nothing", { A: "" }],
  ["A=#nothing", { A: "" }],
  ["A=1 # one", { A: "1" }],
  ["A=1#one", { A: "1#one" }],
  ["A=1 #it's one", { A: "1" }],
  ["export A=1", { A: "1" }],
  ["export=1", { export: "1" }],
  ["export = 1", { export: "1" }],
  ["A.B_2=1", { "A.B_2": "1" }],
  ["A='it is' # so", { A: "it is" }],
  [`A='$B \\n "'`, { A: '$B \\n "' }],
  ['A="a \\"b\\" \\\\ \\$c \\n d"', { A: 'a "b" \\ $c \n d' }],
  ["A=a\\ b\\'c", { A: "a b'c" }],
  [`A='x'"y"z`, { A: "xyz" }],
  ['A="one\ntwo # no comment"\nB=2', { A: "one\ntwo # no comment", B: "2" }],
  ["A=1\nA=2", { A: "1" }],
  ["A=/x\nB=%{A}/y\nC=$A/z", { A: "/x", B: "/x/y", C: "/x/z" }],
  ['A=/x\nB="%{A}/y z"', { A: "/x", B: "/x/y z" }],
  ["B=%{HOME}/y\nHOME=/other", { B: "/home/me/y", HOME: "/other" }],
  ["HOME=/other\nB=%{HOME}/y", { B: "/home/me/y", HOME: "/other" }],
  ["B=%{NOBODY}y$", { B: "y" }],
  ["A=1\nB=\\%{A}", { A: "1", B: written("%{A}") }],
])("reads %j as the server does", (text, values) => {
  expect(parseEnvFile(written(text), { HOME: "/home/me" })).toEqual(values);
});

it.each([
  ["DATA", 1],
  ["=1", 1],
  ["1A=1", 1],
  ["A-B=1", 1],
  ["\nA=two words", 2],
  ["A=1\n\nB=a\\8b", 3],
  ["A=%{B", 1],
  ['A="open\nB=2', 1],
  ["A='open", 1],
  ['A="$B"', 1],
  ["A=1\nB=hunter2 hunter2", 2],
])("refuses %j at its line, and repeats nothing of it", (text, line) => {
  const read = (): object => parseEnvFile(written(text), {});
  expect(read).toThrow(EnvFileError);
  expect(read).toThrow(`line ${line} cannot be read`);
  expect(read).not.toThrow(/hunter2/);
});
