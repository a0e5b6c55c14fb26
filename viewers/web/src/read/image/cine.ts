// How does a loop play at the speed it was recorded?

const SLOWEST = 1;
const FASTEST = 60;

/** Which picture is due. Time goes in as milliseconds, so a slow computer drops pictures and keeps the speed. */
export class Cine {
  readonly count: number;
  #perSecond: number;
  #from = 0;
  #since: number | null = null;

  constructor(count: number, frameTimeMs: number) {
    this.count = count;
    this.#perSecond = Math.min(FASTEST, Math.max(SLOWEST, 1000 / frameTimeMs));
  }

  get perSecond(): number {
    return this.#perSecond;
  }

  get playing(): boolean {
    return this.#since !== null;
  }

  play(index: number, at: number): void {
    this.#from = index;
    this.#since = at;
  }

  stop(): void {
    this.#since = null;
  }

  /** Faster or slower by a quarter, without a jump. */
  speed(by: 1 | -1, at: number): void {
    if (this.playing) this.play(this.index(at), at);
    this.#perSecond = Math.min(FASTEST, Math.max(SLOWEST, this.#perSecond * (by > 0 ? 1.25 : 0.8)));
  }

  /** The picture due at this moment; the loop starts over after the last one. */
  index(at: number): number {
    if (this.#since === null) return this.#from;
    const steps = Math.floor(((at - this.#since) / 1000) * this.#perSecond + 1e-6);
    return (this.#from + steps) % this.count;
  }
}
