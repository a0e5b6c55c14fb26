// Which picture of a stack is fetched next?

export type PictureState = "waiting" | "loading" | "loaded" | "failed";

interface Options {
  /** Background fetches at a time; a browser gives one server six connections, and the page needs some. */
  readonly parallel: number;
  /** At most so many pictures are fetched ahead (they must fit into memory together). */
  readonly most: number;
  readonly changed: () => void;
}

/**
 * Loads a stack outwards from the picture that is looked at: that one at once, then its neighbours, nearest first, a
 * little further ahead in the direction of the last step than behind.
 */
export class Loader {
  readonly #states: PictureState[];
  readonly #running = new Map<number, Promise<void>>();
  readonly #load: (index: number) => Promise<void>;
  readonly #options: Options;
  #at = 0;
  #direction: 1 | -1 = 1;
  #stopped = false;
  #paused = false;

  constructor(count: number, load: (index: number) => Promise<void>, options: Options) {
    this.#states = new Array<PictureState>(count).fill("waiting");
    this.#load = load;
    this.#options = options;
  }

  get count(): number {
    return this.#states.length;
  }

  get loaded(): number {
    return this.#states.filter((state) => state === "loaded").length;
  }

  /** The first picture that could not be had; null when there is none. */
  get failed(): number | null {
    const index = this.#states.indexOf("failed");
    return index < 0 ? null : index;
  }

  /** Nothing more will come by itself: all is loaded, or failed, or beyond what may be kept. */
  get settled(): boolean {
    return this.#running.size === 0 && this.next() === null;
  }

  state(index: number): PictureState {
    return this.#states[index] ?? "waiting";
  }

  /** The person looks at this picture now. */
  focus(index: number): void {
    if (index !== this.#at) this.#direction = index > this.#at ? 1 : -1;
    this.#at = index;
    this.#pump();
  }

  /** Fetch one picture now, before all others. Rejects with the reason when it cannot be had; asking again tries again. */
  need(index: number): Promise<void> {
    if (this.state(index) === "loaded") return Promise.resolve();
    return this.#start(index);
  }

  /** Fetch nothing ahead while another stack is in front. */
  pause(on: boolean): void {
    this.#paused = on;
    if (!on) this.#pump();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** The picture to fetch next in the background, or null. */
  next(): number | null {
    const asked = this.#states.filter((state) => state !== "waiting").length;
    if (asked >= this.#options.most) return null;
    let best: number | null = null;
    let least = Number.POSITIVE_INFINITY;
    this.#states.forEach((state, i) => {
      if (state !== "waiting") return;
      const ahead = (i - this.#at) * this.#direction >= 0;
      const cost = Math.abs(i - this.#at) * (ahead ? 1 : 2) + (ahead ? 0 : 0.5);
      if (cost < least) {
        least = cost;
        best = i;
      }
    });
    return best;
  }

  #pump(): void {
    while (!this.#stopped && !this.#paused && this.#running.size < this.#options.parallel) {
      const index = this.next();
      if (index === null) return;
      this.#start(index).catch(() => undefined); // kept as "failed"; who needs the picture asks again and is told
    }
  }

  #start(index: number): Promise<void> {
    const running = this.#running.get(index);
    if (running !== undefined) return running;
    this.#states[index] = "loading";
    const promise = this.#load(index)
      .then(
        () => {
          this.#states[index] = "loaded";
        },
        (reason: unknown) => {
          this.#states[index] = "failed";
          throw reason;
        },
      )
      .finally(() => {
        this.#running.delete(index);
        if (this.#stopped) return;
        this.#options.changed();
        this.#pump();
      });
    this.#running.set(index, promise);
    return promise;
  }
}
