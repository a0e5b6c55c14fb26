// What has the reader really had before the eyes?

import type { Painted } from "../lib/api";
import { toPaintOf, type View } from "./views";

/**
 * Two facts: the pixels (or samples, or pages) of an instance are here, and the view it belongs to was opened and painted.
 *
 * A reader scrolls through three hundred slices faster than each could be shown alone, so a stack counts as seen when it
 * was opened and painted and all its instances are loaded; a view nobody opened never counts. Both facts are of a content:
 * when an instance comes anew under its UID, it is not here, and its view was not opened.
 */
export class PaintedFacts {
  readonly #views: readonly View[];
  readonly #opened: Set<string>;
  readonly #here: Set<string>;

  constructor(views: readonly View[], opened: ReadonlySet<string> = new Set(), here: ReadonlySet<string> = new Set()) {
    this.#views = views;
    this.#opened = new Set(opened);
    this.#here = new Set(here);
  }

  /** The same facts over another list of views: what was seen stays seen, a view that grew or changed must be opened again. */
  over(views: readonly View[]): PaintedFacts {
    return new PaintedFacts(views, this.#opened, this.#here);
  }

  opened(view: View): void {
    this.#opened.add(view.content);
  }

  here(sopUid: string, v: string): void {
    this.#here.add(`${sopUid}:${v}`);
  }

  isOpened(view: View): boolean {
    return this.#opened.has(view.content);
  }

  /** What goes into the request: loaded, and in a view that was opened. */
  get painted(): Painted[] {
    return this.#views.filter((view) => this.isOpened(view)).flatMap((view) => toPaintOf(view).filter((one) => this.#here.has(`${one.sop_uid}:${one.v}`)));
  }

  get total(): number {
    return this.#views.reduce((sum, view) => sum + toPaintOf(view).length, 0);
  }

  get unopened(): readonly View[] {
    return this.#views.filter((view) => !this.isOpened(view));
  }

  /** Everything that can be looked at was looked at. A study without a view has nothing to wait for. */
  get complete(): boolean {
    return this.painted.length === this.total;
  }
}
