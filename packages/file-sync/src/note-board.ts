import type { FileSyncEvent, Note } from "./events.ts";

/** The notes in force. Says each once, when it comes and when it goes. */
export class NoteBoard {
  readonly #onEvent: (event: FileSyncEvent) => void;
  #notes = new Map<string, Note>();

  constructor(onEvent: (event: FileSyncEvent) => void) {
    this.#onEvent = onEvent;
  }

  get notes(): readonly Note[] {
    return [...this.#notes.values()];
  }

  /** All that there is to note now; what is not among it is over. */
  show(notes: readonly Note[]): void {
    const before = this.#notes;
    this.#notes = new Map(
      notes.map((note) => [JSON.stringify([note.kind, note.path, note.reason]), note]),
    );
    for (const [key, note] of before) {
      if (!this.#notes.has(key)) this.#onEvent({ type: "cleared", note });
    }
    for (const [key, note] of this.#notes) {
      if (!before.has(key)) this.#onEvent({ type: "noted", note });
    }
  }
}
