import type { Contenders } from "./contenders.ts";
import type { BenchStore, StoreKind } from "./place.ts";

export interface Scenario {
  readonly name: string;
  /** What is done, for whoever reads the table. */
  readonly summary: string;
  /** Whether its figures differ so much with the distance of the store that each one is worth a run; else the farthest is. */
  readonly runsAt: "each-latency" | "farthest";
  /** Undefined: on any. */
  readonly needs?: StoreKind;
  /** Takes half an hour and more: runs only where it is asked for by name. */
  readonly isLong?: true;
  /** Heads the columns of values: of `ours`, of `stock`, and of `tuned` if there is a third. Default: `ours` and `stock`. */
  readonly columns?: readonly string[];
  run(context: ScenarioContext): Promise<readonly Figure[]>;
}

export interface ScenarioContext {
  readonly contenders: Contenders;
  /** Nothing lies in it yet. */
  readonly store: BenchStore;
  /** For everything else. Empty, on a real disk, and removed afterwards. */
  readonly directory: string;
  /** Smaller data and shorter times: for a look, not for a claim. */
  readonly quick: boolean;
  /** Says what is being done now. */
  say(line: string): void;
}

/** One line of the table. */
export interface Figure {
  readonly name: string;
  /** Of all values. */
  readonly unit: "ms" | "s" | "MB" | "×" | "%" | "1/s" | "1/h" | "s/GB" | "files" | "";
  readonly ours: number | undefined;
  /** Of the other contender: stock, where `Scenario.columns` does not say otherwise. */
  readonly stock: number | undefined;
  /** Of the other contender with better settings than its defaults, where the scenario has a column for it. */
  readonly tuned?: number | undefined;
  /** What was aimed at, in words, and whether it was reached; undefined where stock is needed to tell. */
  readonly bar?: { readonly text: string; readonly isHeld: boolean | undefined };
}

/** A bar of ours against stock's value. */
export function barAgainstStock(
  text: string,
  ours: number | undefined,
  stock: number | undefined,
  holds: (ours: number, stock: number) => boolean,
): NonNullable<Figure["bar"]> {
  return {
    text,
    isHeld: ours === undefined || stock === undefined ? undefined : holds(ours, stock),
  };
}

export const megabyte = 1_000_000;
export const gigabyte = 1_000_000_000;
