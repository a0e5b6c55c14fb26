// How is an ECG painted on the screen, true to scale?
//
// Three layers, so that each repaints alone: the grid (kept as long as size and scale stay), the traces, the calipers.

import { decimate } from "./decimate";
import {
  baselineMm,
  GAIN_MM_PER_MV,
  type Layout,
  layoutOf,
  PULSE,
  type Scale,
  scaleFor,
  SPEED_MM_PER_S,
} from "./layout";
import type { Lead, Recording } from "./recording";

/** What stands on the screen after a paint. */
export interface Painted {
  readonly recording: Recording;
  readonly leads: readonly string[];
  readonly pxPerMm: number;
  readonly layout: Layout;
}

export interface Measured {
  readonly ms: number;
  readonly perMinute: number;
  readonly mv: number;
}

interface Words {
  /** "no data": stands in the place of a lead that the recording does not have. */
  missing: string;
  measured: (value: Measured) => string;
}

type Layer = "grid" | "traces" | "overlay";
interface Point {
  x: number;
  y: number;
}

/** A sheet inside `host`, which gives it its size and its colours (custom properties). */
export class EcgSheet {
  readonly #host: HTMLElement;
  readonly #words: () => Words;
  readonly #painted: (fact: Painted) => void;
  readonly #layers: Record<Layer, HTMLCanvasElement>;
  readonly #watch: ResizeObserver;
  #recording: Recording | null = null;
  #startS = 0;
  #scale: Scale = { pxPerMm: 1, rowMm: 1 };
  #gridKey = "";
  #frame = 0;
  #calipers = false;
  #span: [Point, Point] | null = null;

  constructor(host: HTMLElement, words: () => Words, painted: (fact: Painted) => void) {
    this.#host = host;
    this.#words = words;
    this.#painted = painted;
    this.#layers = { grid: layer("grid"), traces: layer("traces"), overlay: layer("overlay") };
    host.append(...Object.values(this.#layers));
    this.#watch = new ResizeObserver(() => this.#later());
    this.#watch.observe(host);
    this.#followPointer();
    this.#paintGrid();
  }

  /** Paint a recording from `startS` on; the former one leaves the screen at once. */
  show(recording: Recording, startS = 0): void {
    this.#recording = recording;
    this.#startS = startS;
    this.#span = null;
    this.#later();
  }

  /** Measure by dragging, or not. */
  set calipers(on: boolean) {
    this.#calipers = on;
    this.#host.classList.toggle("measuring", on);
    if (!on) this.#span = null;
    this.#paintOverlay();
  }

  /** Paint again, with new words or colours. */
  refresh(): void {
    this.#gridKey = "";
    this.#later();
  }

  destroy(): void {
    this.#watch.disconnect();
    cancelAnimationFrame(this.#frame);
    for (const canvas of Object.values(this.#layers)) canvas.remove();
  }

  #later(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#paintGrid();
      const fact = this.#paintTraces();
      this.#paintOverlay();
      // A second frame: by then the first one has reached the screen.
      if (fact !== null) this.#frame = requestAnimationFrame(() => this.#painted(fact));
    });
  }

  #paintGrid(): void {
    const { clientWidth: width, clientHeight: height } = this.#host;
    const layout = this.#recording === null ? null : this.#layout(this.#recording);
    this.#scale = scaleFor(width, height, layout?.rows ?? 4);
    const key = [width, height, this.#scale.pxPerMm, devicePixelRatio].join();
    if (key === this.#gridKey || width === 0 || height === 0) return;
    this.#gridKey = key;
    for (const canvas of Object.values(this.#layers)) fit(canvas, width, height);
    const g = this.#context("grid");
    const k = this.#scale.pxPerMm * devicePixelRatio;
    for (const [every, colour] of [[1, "--grid-minor"], [5, "--grid-major"]] as const) {
      g.strokeStyle = this.#colour(colour);
      g.lineWidth = Math.max(1, Math.round(devicePixelRatio));
      const half = (g.lineWidth % 2) / 2;
      g.beginPath();
      for (let x = 0; x * k <= g.canvas.width; x += every) vertical(g, Math.round(x * k) + half, 0, g.canvas.height);
      for (let y = 0; y * k <= g.canvas.height; y += every) horizontal(g, Math.round(y * k) + half, g.canvas.width);
      g.stroke();
    }
  }

  #paintTraces(): Painted | null {
    const g = this.#context("traces");
    g.clearRect(0, 0, g.canvas.width, g.canvas.height);
    const recording = this.#recording;
    if (recording === null || this.#host.clientWidth === 0) return null;
    const layout = this.#layout(recording);
    const k = this.#scale.pxPerMm * devicePixelRatio;
    const ink = this.#colour("--trace");
    g.lineJoin = "miter";
    g.miterLimit = 4;
    g.lineWidth = Math.max(1, (this.#scale.pxPerMm >= 5 ? 1.4 : 1.15) * devicePixelRatio);
    g.strokeStyle = ink;
    for (let row = 0; row < layout.rows; row++) pulse(g, baselineMm(row, this.#scale.rowMm), k);
    for (const cell of layout.cells) {
      const base = baselineMm(cell.row, this.#scale.rowMm);
      const lead = recording.leads.find((one) => one.name === cell.lead);
      if (lead !== undefined) trace(g, lead, recording.samplingHz, cell, base, k);
      if (cell.xMm > 10) separator(g, cell.xMm, base, k);
    }
    for (const cell of layout.cells) this.#label(g, cell, k);
    return {
      recording,
      leads: layout.cells.filter((cell) => !cell.missing).map((cell) => cell.lead),
      pxPerMm: this.#scale.pxPerMm,
      layout,
    };
  }

  #label(g: CanvasRenderingContext2D, cell: Layout["cells"][number], k: number): void {
    const size = (this.#scale.pxPerMm >= 5 ? 15 : 14) * devicePixelRatio;
    const font = getComputedStyle(this.#host).fontFamily;
    const aboveMm = Math.min(11.5, this.#scale.rowMm * 0.45);
    const y = (baselineMm(cell.row, this.#scale.rowMm) - aboveMm) * k;
    g.save();
    g.lineWidth = 4 * devicePixelRatio;
    g.strokeStyle = this.#colour("--surface");
    g.fillStyle = this.#colour("--text-strong");
    g.lineJoin = "round";
    g.font = `600 ${size}px ${font}`;
    g.strokeText(cell.lead, (cell.xMm + 1) * k, y);
    g.fillText(cell.lead, (cell.xMm + 1) * k, y);
    if (cell.missing) {
      const at = (cell.xMm + 1) * k + g.measureText(`${cell.lead} `).width;
      g.fillStyle = this.#colour("--at-risk");
      g.font = `${size}px ${font}`;
      g.fillText(this.#words().missing, at, y);
    }
    g.restore();
  }

  #paintOverlay(): void {
    const g = this.#context("overlay");
    g.clearRect(0, 0, g.canvas.width, g.canvas.height);
    if (this.#span === null) return;
    const [a, b] = this.#span;
    const d = devicePixelRatio;
    g.strokeStyle = this.#colour("--mark");
    g.lineWidth = Math.max(1, Math.round(d));
    g.beginPath();
    for (const p of [a, b]) {
      vertical(g, p.x * d, 0, g.canvas.height);
      g.moveTo(Math.min(a.x, b.x) * d, p.y * d);
      g.lineTo(Math.max(a.x, b.x) * d, p.y * d);
    }
    g.stroke();
    const said = this.#words().measured(measure(a, b, this.#scale.pxPerMm));
    g.font = `600 ${14 * d}px ${getComputedStyle(this.#host).fontFamily}`;
    const width = g.measureText(said).width;
    const x = Math.min(Math.max(a.x, b.x) * d + 6 * d, g.canvas.width - width - 6 * d);
    const y = Math.max(20 * d, Math.min(a.y, b.y) * d - 6 * d);
    g.fillStyle = this.#colour("--surface");
    g.fillRect(x - 4 * d, y - 15 * d, width + 8 * d, 20 * d);
    g.fillStyle = this.#colour("--mark");
    g.fillText(said, x, y);
  }

  #followPointer(): void {
    const canvas = this.#layers.overlay;
    const at = (event: PointerEvent): Point => ({ x: event.offsetX, y: event.offsetY });
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.#calipers || event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.#span = [at(event), at(event)];
      this.#paintOverlay();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.#span === null || !canvas.hasPointerCapture(event.pointerId)) return;
      this.#span = [this.#span[0], at(event)];
      this.#paintOverlay();
    });
  }

  #layout(recording: Recording): Layout {
    return layoutOf(recording.leads.map((lead) => lead.name), this.#startS);
  }

  #context(name: Layer): CanvasRenderingContext2D {
    const context = this.#layers[name].getContext("2d");
    if (context === null) throw new Error("this browser has no 2d canvas");
    return context;
  }

  #colour(name: string): string {
    return getComputedStyle(this.#host).getPropertyValue(name).trim();
  }
}

/** What lies between two points of the sheet, in CSS pixels. */
export function measure(a: Point, b: Point, pxPerMm: number): Measured {
  const ms = (Math.abs(b.x - a.x) / pxPerMm / SPEED_MM_PER_S) * 1000;
  return { ms, perMinute: ms > 0 ? 60_000 / ms : 0, mv: (a.y - b.y) / pxPerMm / GAIN_MM_PER_MV };
}

function layer(name: Layer): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.className = `ecg-layer ${name}`;
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function fit(canvas: HTMLCanvasElement, width: number, height: number): void {
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
}

function vertical(g: CanvasRenderingContext2D, x: number, from: number, to: number): void {
  g.moveTo(x, from);
  g.lineTo(x, to);
}

function horizontal(g: CanvasRenderingContext2D, y: number, to: number): void {
  g.moveTo(0, y);
  g.lineTo(to, y);
}

/** The calibration pulse, left of the row. `k` is device pixels per millimetre, here and below. */
function pulse(g: CanvasRenderingContext2D, base: number, k: number): void {
  const wide = PULSE.seconds * SPEED_MM_PER_S;
  const high = PULSE.mv * GAIN_MM_PER_MV;
  g.beginPath();
  g.moveTo(2 * k, base * k);
  g.lineTo(3 * k, base * k);
  g.lineTo(3 * k, (base - high) * k);
  g.lineTo((3 + wide) * k, (base - high) * k);
  g.lineTo((3 + wide) * k, base * k);
  g.lineTo((4 + wide) * k, base * k);
  g.stroke();
}

function trace(
  g: CanvasRenderingContext2D,
  lead: Lead,
  samplingHz: number,
  cell: Layout["cells"][number],
  base: number,
  k: number,
): void {
  const from = Math.round(cell.fromS * samplingHz);
  const to = Math.round(cell.toS * samplingHz) + 1; // one more, so that neighbouring columns meet
  const points = decimate(lead.uv, from, Math.min(to, lead.uv.length), (SPEED_MM_PER_S / samplingHz) * k);
  const perUv = (GAIN_MM_PER_MV / 1000) * k;
  g.save();
  g.beginPath();
  g.rect(cell.xMm * k, 0, Math.min(cell.toS - cell.fromS, 10) * SPEED_MM_PER_S * k, g.canvas.height);
  g.clip();
  g.beginPath();
  let down = false;
  for (let i = 0; i < points.length; i += 2) {
    const uv = points[i + 1] ?? Number.NaN;
    if (Number.isNaN(uv)) {
      down = false;
      continue;
    }
    const x = cell.xMm * k + (points[i] ?? 0);
    const y = base * k - (uv - lead.shiftUv) * perUv;
    if (down) g.lineTo(x, y);
    else g.moveTo(x, y);
    down = true;
  }
  g.stroke();
  g.restore();
}

/** Two short strokes say that another lead begins; between them the trace runs on. */
function separator(g: CanvasRenderingContext2D, xMm: number, base: number, k: number): void {
  const x = Math.round(xMm * k) + 0.5;
  g.beginPath();
  vertical(g, x, (base - 6) * k, (base - 3) * k);
  vertical(g, x, (base + 3) * k, (base + 5) * k);
  g.stroke();
}

