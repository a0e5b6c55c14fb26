// What has the reader really had before the eyes?

import { sopUidsOf, type View } from "./views";

/**
 * Two facts per instance: its pixels (or samples, or pages) are here, and the view it belongs to was opened and painted.
 *
 * A reader scrolls through three hundred slices faster than each could be shown alone, so a stack counts as seen when it
 * was opened and painted and all its instances are loaded; a view nobody opened never counts.
 */
export class PaintedFacts {
  readonly #views: readonly View[];
  readonly #opened = new Set<string>();
  readonly #here = new Set<string>();

  constructor(views: readonly View[]) {
    this.#views = views;
  }

  /** The same facts over another list of views: what was seen stays seen, a view that grew must be opened again. */
  over(views: readonly View[]): PaintedFacts {
    const next = new PaintedFacts(views);
    const before = new Map(this.#views.map((view) => [view.key, sopUidsOf(view).length]));
    for (const view of views) {
      if (this.#opened.has(view.key) && before.get(view.key) === sopUidsOf(view).length) next.#opened.add(view.key);
    }
    for (const sopUid of this.#here) next.#here.add(sopUid);
    return next;
  }

  opened(viewKey: string): void {
    this.#opened.add(viewKey);
  }

  here(sopUid: string): void {
    this.#here.add(sopUid);
  }

  isOpened(view: View): boolean {
    return this.#opened.has(view.key);
  }

  /** SOP Instance UIDs that go into the request: loaded, and in a view that was opened. */
  get painted(): string[] {
    return this.#views.filter((view) => this.isOpened(view)).flatMap((view) => sopUidsOf(view).filter((uid) => this.#here.has(uid)));
  }

  get total(): number {
    return this.#views.reduce((sum, view) => sum + sopUidsOf(view).length, 0);
  }

  get unopened(): readonly View[] {
    return this.#views.filter((view) => !this.isOpened(view));
  }

  /** Everything that can be looked at was looked at. A study without a view has nothing to wait for. */
  get complete(): boolean {
    return this.painted.length === this.total;
  }
}
