// How does a stack of pictures come onto the screen, and what is known of what was shown?

import { cache, Enums, imageLoader, type StackViewport, type Types, utilities } from "@cornerstonejs/core";
import { wadors } from "@cornerstonejs/dicom-image-loader";
import { Enums as ToolEnums } from "@cornerstonejs/tools";
import { bySpace, type Frame, type ImageView } from "../views";
import { Cine } from "./cine";
import { attach, detach, engine, type ToolName, useTool } from "./engine";
import { Loader } from "./loader";
import type { Length } from "./measured";
import { lengths } from "./measurements";
import {
  depthWords, type Json, leftLetter, mended, isMonochrome1, modalityOf, positionOf, type Spacing, sopUidOf, spacingOf, windowsOf,
} from "./metadata";
import { type Preset, presetsFor, type Window } from "./presets";

/** Memory for pictures fetched ahead, of all stacks together. */
const AHEAD_BYTES = 700_000_000;
const PARALLEL = 4;
const VIEWPORT = "main";

/** Everything the page says about the picture. A new value on every change. */
export interface Seen {
  /** The picture on the screen, from 0; null before the first. */
  readonly index: number | null;
  readonly count: number;
  readonly loaded: number;
  readonly frame: Frame | null;
  /** What the canvas holds, also while the stack in front has not drawn yet. */
  readonly shown: Frame | null;
  readonly window: Window | null;
  /** Screen pixels per picture pixel. */
  readonly zoom: number;
  readonly inverted: boolean;
  readonly depth: string | null;
  readonly left: string | null;
  readonly presets: readonly Preset[];
  readonly cine: { readonly playing: boolean; readonly perSecond: number } | null;
  readonly lengths: readonly Length[];
  /** Labels to draw over the picture, in pixels of the viewport. */
  readonly labels: readonly { readonly length: Length; readonly x: number; readonly y: number }[];
  /** The first picture that could not be fetched or decoded, from 0; null when none failed. */
  readonly failed: number | null;
  /** Why the picture that was asked for cannot be shown; `final` when asking again will not help. */
  readonly problem: { readonly frame: Frame; readonly why: string; readonly renderedUrl: string; readonly final: boolean } | null;
}

export interface Told {
  seen: (seen: Seen) => void;
  /** A picture of this stack stands on the screen, or its failure was said in its place. */
  painted: (view: ImageView) => void;
  /** All pictures of this instance have been fetched and decoded. */
  available: (sopUid: string, v: string) => void;
}

interface Loaded {
  readonly view: ImageView;
  readonly ids: readonly string[];
  readonly loader: Loader;
  readonly json: ReadonlyMap<string, Json>;
  readonly cine: Cine | null;
  index: number;
  /** What the reader chose for this stack; null and false: as stored. Drawing on the processor forgets it at each picture. */
  window: Window | null;
  inverted: boolean;
}

const NOTHING: Seen = {
  index: null, count: 0, loaded: 0, frame: null, shown: null, window: null, zoom: 1, inverted: false, depth: null, left: null, presets: [], cine: null,
  lengths: [], labels: [], failed: null, problem: null,
};

/** One viewport that shows the stacks of one study, one at a time. */
export class ImageViewport {
  readonly #root: string;
  readonly #told: Told;
  readonly #stacks = new Map<string, Promise<Loaded>>();
  readonly #played = new Set<string>();
  readonly #spacings = new Map<string, Spacing>();
  #element: HTMLDivElement | null = null;
  #viewport: StackViewport | null = null;
  #now: Loaded | null = null;
  #asked = 0;
  #problem: Seen["problem"] = null;
  #watch: ResizeObserver | null = null;
  #raf = 0;
  #displaying = false;
  #shown: Frame | null = null;
  #gone = false;
  #order: readonly ImageView[] = [];

  /** `root` is the DICOMweb address of the study, `…/studies/{uid}`. */
  constructor(root: string, told: Told) {
    this.#root = root;
    this.#told = told;
  }

  async mount(element: HTMLDivElement, tool: ToolName): Promise<void> {
    const rendering = await engine();
    if (this.#gone) return;
    rendering.enableElement({ viewportId: VIEWPORT, type: Enums.ViewportType.STACK, element });
    element.removeAttribute("tabindex"); // the library listens for keys there and keeps them to itself
    this.#element = element;
    this.#viewport = rendering.getViewport(VIEWPORT) as StackViewport;
    attach(VIEWPORT, tool);
    element.addEventListener(Enums.Events.IMAGE_RENDERED, this.#rendered);
    element.addEventListener(Enums.Events.VOI_MODIFIED, this.#windowed);
    element.addEventListener(ToolEnums.Events.ANNOTATION_RENDERED, this.#say);
    this.#watch = new ResizeObserver(() => {
      if (element.clientWidth === 0) return; // hidden behind a document
      rendering.resize(true, true);
      this.#say();
    });
    this.#watch.observe(element);
  }

  /** All stacks of the study in the order of the rail: those not in front are fetched when the one in front is done. */
  expect(views: readonly ImageView[]): void {
    this.#order = views;
    const contents = new Set(views.map((view) => view.content));
    for (const [content, coming] of this.#stacks) {
      if (contents.has(content)) continue;
      this.#stacks.delete(content); // something has come under it: nothing more is fetched of what it was
      void coming.then((one) => one.loader.stop()).catch(() => undefined);
    }
    if (this.#now !== null) this.#loadedMore();
  }

  /** Bring a stack to the front. Throws when its description cannot be had. */
  async open(view: ImageView): Promise<void> {
    const asked = ++this.#asked;
    this.stop();
    const stack = await this.#stack(view);
    if (asked !== this.#asked || this.#gone) return;
    this.#replace(stack);
    for (const other of this.#stacks.values()) void other.then((one) => one.loader.pause(one !== stack)).catch(() => undefined);
    this.#now = stack;
    this.#problem = null;
    await this.show(stack.index);
  }

  /** A stack that grew or changed takes the place of the one before it: the reader stays where he was, with the same window. */
  #replace(stack: Loaded): void {
    const before = this.#now;
    if (before === null || before === stack || before.view.key !== stack.view.key) return;
    const at = before.view.frames[before.index];
    stack.index = Math.max(0, stack.view.frames.findIndex((frame) => frame.sopUid === at?.sopUid && frame.frame === at.frame));
    stack.window = before.window;
    stack.inverted = before.inverted;
  }

  /** Show one picture of the stack in front; what is on the screen stays until it is there. */
  async show(index: number): Promise<void> {
    const stack = this.#now;
    if (stack === null || this.#viewport === null) return;
    const asked = ++this.#asked;
    const to = Math.min(stack.ids.length - 1, Math.max(0, index));
    stack.index = to;
    stack.loader.focus(to);
    try {
      await stack.loader.need(to);
      if (asked !== this.#asked || this.#gone) return;
      await this.#display(stack, to);
      this.#problem = null;
    } catch (reason) {
      if (asked !== this.#asked || this.#gone) return;
      this.#fail(stack, to, reason);
    }
    this.#say();
  }

  step(by: number): void {
    if (this.#now === null) return;
    this.stop();
    void this.show(this.#now.index + by);
  }

  choose(window: Window): void {
    if (this.#now === null) return;
    this.#now.window = window;
    this.#dress(this.#now);
    this.render();
  }

  /** The picture's own window, size and place again. */
  reset(): void {
    if (this.#now === null) return;
    this.#now.window = null;
    this.#now.inverted = false;
    this.#viewport?.resetProperties();
    this.#viewport?.resetCamera();
    this.#dress(this.#now);
    this.render();
  }

  invert(): void {
    if (this.#now === null) return;
    this.#now.inverted = !this.#now.inverted;
    this.#dress(this.#now);
    this.render();
  }

  tool(name: ToolName): void {
    useTool(name);
  }

  render(): void {
    this.#viewport?.render();
    this.#say();
  }

  play(): void {
    const stack = this.#now;
    if (stack?.cine === null || stack === null || stack.cine.playing) return;
    stack.cine.play(stack.index, performance.now());
    const tick = (): void => {
      if (stack !== this.#now || stack.cine?.playing !== true) return;
      const due = stack.cine.index(performance.now());
      // A picture that is not here yet is left out: the loop keeps its time.
      if (due !== stack.index && stack.loader.state(due) === "loaded") void this.show(due);
      this.#raf = requestAnimationFrame(tick);
    };
    this.#raf = requestAnimationFrame(tick);
    this.#say();
  }

  stop(): void {
    cancelAnimationFrame(this.#raf);
    if (this.#now?.cine?.playing !== true) return;
    this.#now.cine.stop();
    this.#say();
  }

  toggleCine(): void {
    if (this.#now?.cine?.playing === true) this.stop();
    else this.play();
  }

  speed(by: 1 | -1): void {
    this.#now?.cine?.speed(by, performance.now());
    this.#say();
  }

  destroy(): void {
    this.#gone = true;
    this.#asked++;
    cancelAnimationFrame(this.#raf);
    this.#watch?.disconnect();
    for (const stack of this.#stacks.values()) void stack.then((one) => one.loader.stop()).catch(() => undefined);
    this.#element?.removeEventListener(Enums.Events.IMAGE_RENDERED, this.#rendered);
    if (this.#viewport === null) return;
    detach(VIEWPORT);
    void engine().then((rendering) => rendering.disableElement(VIEWPORT));
  }

  // ---- fetching --------------------------------------------------------------------------------------------------
  #stack(view: ImageView): Promise<Loaded> {
    const known = this.#stacks.get(view.content);
    if (known !== undefined) return known;
    const coming = this.#describe(view);
    this.#stacks.set(view.content, coming);
    coming.catch(() => this.#stacks.delete(view.content)); // asked for again, it is tried again
    return coming;
  }

  async #describe(found: ImageView): Promise<Loaded> {
    const series = `${this.#root}/series/${found.series.uid}`;
    const answer = await fetch(`${series}/metadata`, { headers: { Accept: "application/dicom+json" } });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const sent = (await answer.json()) as Json[];
    const json = new Map(sent.map((one) => [sopUidOf(one), mended(one)]));
    const spacings = new Map(sent.map((one) => [sopUidOf(one), spacingOf(one)]));
    const view = bySpace(found, (frame) => {
      const one = json.get(frame.sopUid);
      return one === undefined || frame.frame > 1 ? null : positionOf(one);
    });
    // The library takes the frame's number from the end of the address, so the version stands in the path and not in a query.
    const ids = view.frames.map((frame) => `wadors:${series}/instances/${frame.sopUid}/versions/${frame.v}/frames/${frame.frame}`);
    view.frames.forEach((frame, i) => {
      const one = json.get(frame.sopUid);
      if (one !== undefined) wadors.metaDataManager.add(ids[i] ?? "", one as never);
      this.#spacings.set(ids[i] ?? "", spacings.get(frame.sopUid) ?? "none");
    });
    const left = new Map<string, number>();
    for (const frame of view.frames) left.set(frame.sopUid, (left.get(frame.sopUid) ?? 0) + 1);
    const most = Math.max(1, Math.floor(AHEAD_BYTES / Math.max(1, view.bytesPerFrame)));
    const loader = new Loader(
      ids.length,
      async (i) => {
        await this.#fetch(ids[i] ?? "");
        const { sopUid = "", v = "" } = view.frames[i] ?? {};
        const rest = (left.get(sopUid) ?? 1) - 1;
        left.set(sopUid, rest);
        // A loop too long to be kept whole counts when its first part is here: the rest comes while it plays.
        if (rest <= 0 || most < ids.length) this.#told.available(sopUid, v);
      },
      { parallel: PARALLEL, most, changed: () => this.#loadedMore() },
    );
    const cine = view.frameTimeMs === null || ids.length < 2 ? null : new Cine(ids.length, view.frameTimeMs);
    return { view, ids, loader, json, cine, index: 0, window: null, inverted: false };
  }

  async #fetch(imageId: string): Promise<void> {
    if (cache.getImageLoadObject(imageId) !== undefined) {
      await imageLoader.loadAndCacheImage(imageId);
      return;
    }
    await imageLoader.loadAndCacheImage(imageId, { requestType: Enums.RequestType.Interaction, priority: 0 });
  }

  #loadedMore(): void {
    this.#say();
    const stack = this.#now;
    if (stack?.loader.settled !== true) return;
    if (stack.cine !== null && !this.#played.has(stack.view.key)) this.#playFirst(stack);
    const next = this.#order.find((view) => !this.#stacks.has(view.content));
    if (next !== undefined) void this.#stack(next).then((one) => one.loader.focus(0)).catch(() => undefined);
  }

  /** A loop begins to play once all its pictures are here, unless the person asked the system for less motion. */
  #playFirst(stack: Loaded): void {
    this.#played.add(stack.view.key);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  // ---- showing ---------------------------------------------------------------------------------------------------
  async #display(stack: Loaded, index: number): Promise<void> {
    const viewport = this.#viewport;
    if (viewport === null) return;
    const shown = viewport.getImageIds();
    this.#displaying = true;
    try {
      if (shown.length !== stack.ids.length || shown.some((id, i) => id !== stack.ids[i])) await viewport.setStack([...stack.ids], index);
      else await viewport.setImageIdIndex(index);
    } finally {
      this.#displaying = false;
    }
    this.#dress(stack);
    viewport.render();
  }

  /** Put the reader's window and inversion on what the viewport shows. */
  #dress(stack: Loaded): void {
    const frame = stack.view.frames[stack.index];
    const stored = frame !== undefined && isMonochrome1(stack.json.get(frame.sopUid));
    this.#viewport?.setProperties({ invert: stored !== stack.inverted, ...(stack.window === null ? {} : { voiRange: rangeOf(stack.window) }) }, true);
  }

  /** The mouse moved the window. */
  readonly #windowed = (event: Event): void => {
    const range = (event as CustomEvent<{ range?: Types.VOIRange }>).detail.range;
    if (this.#now === null || range === undefined || this.#displaying) return;
    this.#now.window = windowOf(range);
  };

  #fail(stack: Loaded, index: number, reason: unknown): void {
    const frame = stack.view.frames[index];
    if (frame === undefined) return;
    const renderedUrl = `${this.#root}/series/${frame.seriesUid}/instances/${frame.sopUid}/rendered?v=${frame.v}`;
    const status = statusOf(reason);
    const final = navigator.onLine && (status === null ? !isNetwork(reason) : status >= 400 && status < 500 && ![401, 408, 423, 429].includes(status));
    this.#problem = { frame, why: wordsOf(reason), renderedUrl, final };
  }

  readonly #rendered = (): void => {
    const stack = this.#now;
    const viewport = this.#viewport;
    if (stack === null || viewport === null) return;
    const index = stack.ids.indexOf(viewport.getCurrentImageId() ?? "");
    const frame = stack.view.frames[index];
    if (frame !== undefined) {
      this.#shown = frame;
      this.#told.painted(stack.view);
    }
    this.#say();
  };

  readonly #say = (): void => {
    if (!this.#gone) this.#told.seen(this.#describeNow());
  };

  #describeNow(): Seen {
    const stack = this.#now;
    const viewport = this.#viewport;
    if (stack === null || viewport === null) return NOTHING;
    const id = viewport.getCurrentImageId();
    const index = id === undefined ? -1 : stack.ids.indexOf(id);
    const frame = stack.view.frames[index] ?? null;
    const json = frame === null ? undefined : stack.json.get(frame.sopUid);
    const all = lengths((imageId) => this.#spacings.get(imageId) ?? "none");
    return {
      index: index < 0 ? null : index,
      count: stack.ids.length,
      loaded: stack.loader.loaded,
      frame,
      shown: this.#shown,
      window: index < 0 ? null : shownWindow(viewport),
      zoom: index < 0 ? 1 : zoomOf(viewport),
      inverted: stack.inverted,
      depth: json === undefined ? null : depthWords(json),
      left: json === undefined ? null : leftLetter(json),
      presets: json === undefined ? [] : presetsOf(json),
      cine: stack.cine === null ? null : { playing: stack.cine.playing, perSecond: stack.cine.perSecond },
      lengths: all,
      labels: index < 0 ? [] : all.filter((one) => one.imageId === id).map((length) => placed(viewport, length)),
      failed: stack.loader.failed,
      problem: this.#problem,
    };
  }
}

function presetsOf(json: Json): Preset[] {
  const { windows, explained } = windowsOf(json);
  return presetsFor(modalityOf(json), windows, explained);
}

/** Linear window of PS3.3 C.11.2.1.2 as a range of values, and back. */
const rangeOf = ({ center, width }: Window): Types.VOIRange => utilities.windowLevel.toLowHighRange(width, center);

function windowOf({ lower, upper }: Types.VOIRange): Window {
  const { windowCenter, windowWidth } = utilities.windowLevel.toWindowLevel(lower, upper);
  return { center: windowCenter, width: windowWidth };
}

/** Null for colour, which has no window. */
function shownWindow(viewport: StackViewport): Window | null {
  const range = viewport.getProperties().voiRange;
  const isColour = viewport.getCornerstoneImage()?.color === true;
  return range === undefined || range === null || isColour ? null : windowOf(range);
}

/** Screen pixels per picture pixel, the same for both ways of drawing. */
function zoomOf(viewport: StackViewport): number {
  const image = viewport.getCornerstoneImage();
  if (image === undefined || image === null) return 1;
  const data = viewport.getImageData();
  if (data === undefined || data === null) return 1;
  const [x0, y0, z0] = data.origin;
  const row = data.direction.slice(0, 3);
  const far = data.spacing[0] * (image.columns - 1);
  const a = viewport.worldToCanvas([x0, y0, z0]);
  const b = viewport.worldToCanvas([x0 + (row[0] ?? 1) * far, y0 + (row[1] ?? 0) * far, z0 + (row[2] ?? 0) * far]);
  return Math.hypot(a[0] - b[0], a[1] - b[1]) / Math.max(1, image.columns - 1);
}

function placed(viewport: StackViewport, length: Length): { length: Length; x: number; y: number } {
  const [a, b] = length.ends.map(([x, y, z]) => viewport.worldToCanvas([x, y, z]));
  const right = (a?.[0] ?? 0) > (b?.[0] ?? 0) ? a : b;
  return { length, x: (right?.[0] ?? 0) + 10, y: (right?.[1] ?? 0) - 8 };
}

/** The loader rejects with an error, or with an object around one or around a response. */
const innerOf = (reason: unknown): unknown => (reason as { error?: unknown } | null)?.error ?? reason;

function statusOf(reason: unknown): number | null {
  const inner = innerOf(reason) as { status?: unknown; request?: { status?: unknown } } | null;
  const status = inner?.status ?? inner?.request?.status;
  return typeof status === "number" && status > 0 ? status : null;
}

const isNetwork = (reason: unknown): boolean => {
  const inner = innerOf(reason) as { status?: unknown; request?: { status?: unknown } } | null;
  return inner instanceof TypeError || inner?.status === 0 || inner?.request?.status === 0;
};

function wordsOf(reason: unknown): string {
  const status = statusOf(reason);
  if (status !== null) return `HTTP ${status}`;
  const inner = innerOf(reason);
  return inner instanceof Error ? inner.message : String(inner);
}
