// Is the case still this reader's, and does working on it say so to the server?

const EVERY_MS = 120_000;

/** When to ask for more time: only if hands moved since the last time, and not more often than every two minutes. */
export class LeaseKeeper {
  #extendedAt: number;
  #movedAt = 0;

  constructor(at: number) {
    this.#extendedAt = at;
  }

  /** A hand moved, or a picture was looked at. */
  moved(at: number): void {
    this.#movedAt = at;
  }

  /** The server gave more time, for whatever reason. */
  extended(at: number): void {
    this.#extendedAt = at;
  }

  due(at: number): boolean {
    return this.#movedAt > this.#extendedAt && at - this.#extendedAt >= EVERY_MS;
  }
}
