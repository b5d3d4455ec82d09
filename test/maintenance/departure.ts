import { applyFiles, type Ledger, type LedgerFile } from "./ledger.ts";
import type { Line } from "./line.ts";
import type { Beginning, VaultMachine } from "./machine.ts";
import { RestoreIndex } from "./restore-index.ts";
import { minute } from "./virtual-clock.ts";

/** Where a new timeline begins, and what a machine has that was restored there. */
export interface Departure {
  readonly parent: { readonly line: Line; readonly txid: number };
  readonly begin: Beginning;
}

/** From the newest state that can be restored up to a TXID. @returns undefined if there is none. */
export function departFrom(ledger: Ledger, line: Line, upToTxid: number): Departure | undefined {
  const plan = new RestoreIndex(ledger, line).plan({ upToTxid });
  if (plan === undefined) return undefined;
  const last = plan.at(-1) as LedgerFile;
  const part = [...line.lineage()].find((candidate) => candidate.line.first <= last.max);
  if (part === undefined) return undefined;
  const { rows } = line.state(last.max);
  return {
    parent: { line: part.line, txid: last.max },
    begin: {
      pages: applyFiles(plan),
      tree: ledger.files.view(line).filesAt(last.timestampMs, rows),
      rows,
      timestampMsMin: line.state(line.last).timestampMs,
    },
  };
}

/** The TXID of some commits ago, as another machine may have restored it a moment before. */
export function txidBefore(machine: VaultMachine, commits: number, nowMs: number): number {
  const { line, storedTxid } = machine;
  let txid = Math.max(1, storedTxid - commits);
  while (txid < storedTxid && line.state(txid).timestampMs < nowMs - 5 * minute) txid += 1;
  return txid;
}
