// What is there to look at in a study, and in which order?

import type { Instance, Painted, Series } from "../lib/api";

/** One picture of a stack. Frames count from 1, as in DICOMweb. */
export interface Frame {
  readonly seriesUid: string;
  readonly sopUid: string;
  /** Names the instance's content; another one may come under the same UID. */
  readonly v: string;
  readonly frame: number;
}

interface Named {
  /** The same for the same place in the study, whatever comes. */
  readonly key: string;
  /** Another one as soon as an instance comes, or comes anew with other content. */
  readonly content: string;
}

export interface ImageView extends Named {
  readonly kind: "images";
  readonly series: Series;
  readonly frames: readonly Frame[];
  /** Milliseconds per picture of a moving loop; null for a still stack. */
  readonly frameTimeMs: number | null;
  /** Bytes of one decoded picture, to know how many may be kept; 0 when the size is not known. */
  readonly bytesPerFrame: number;
}

export interface EcgView extends Named {
  readonly kind: "ecg";
  readonly series: Series;
  readonly sopUid: string;
  readonly v: string;
}

export interface DocumentView extends Named {
  readonly kind: "pdf";
  readonly series: Series;
  readonly sopUid: string;
  readonly v: string;
}

export type View = ImageView | EcgView | DocumentView;

const DEFAULT_FRAME_TIME_MS = 40;
const MOVING = new Set(["US", "IVUS", "XA", "RF", "XC", "ES", "GM", "DMS"]);
const byNumber = (a: { number: number | null }, b: { number: number | null }): number => (a.number ?? 1e9) - (b.number ?? 1e9);

/**
 * The views of a study: ECGs first, then series by number. Single pictures of a series are one stack, every multi-frame
 * instance is a stack of its own. Instances that are neither (kind "other") have no view.
 */
export function viewsOf(series: readonly Series[]): View[] {
  const all = [...series].sort(byNumber).flatMap(viewsOfSeries);
  const rank = { ecg: 0, images: 1, pdf: 2 } as const;
  return all.map((view, i) => ({ view, i })).sort((a, b) => rank[a.view.kind] - rank[b.view.kind] || a.i - b.i).map(({ view }) => view);
}

function viewsOfSeries(series: Series): View[] {
  const instances = [...series.instances].sort(byNumber);
  const stills = instances.filter((one) => one.kind === "image" && one.frames <= 1);
  const views: View[] = [];
  if (stills.length > 0) views.push(stack(series, series.uid, stills, null));
  for (const one of instances) {
    if (one.kind === "image" && one.frames > 1) views.push(stack(series, one.uid, [one], frameTime(series, one)));
    else if (one.kind === "ecg" || one.kind === "pdf") views.push({ kind: one.kind, key: one.uid, content: contentOf(one.uid, [one]), series, sopUid: one.uid, v: one.v });
  }
  return views;
}

function stack(series: Series, key: string, instances: readonly Instance[], frameTimeMs: number | null): ImageView {
  const frames = instances.flatMap((one) =>
    Array.from({ length: Math.max(1, one.frames) }, (_, i) => ({ seriesUid: series.uid, sopUid: one.uid, v: one.v, frame: i + 1 })),
  );
  const largest = Math.max(0, ...instances.map((one) => (one.rows ?? 0) * (one.columns ?? 0)));
  return { kind: "images", key, content: contentOf(key, instances), series, frames, frameTimeMs, bytesPerFrame: largest * (MOVING.has(series.modality) ? 4 : 2) };
}

const contentOf = (key: string, instances: readonly Instance[]): string => [key, ...instances.map((one) => `${one.uid}:${one.v}`)].join(" ");

/** A multi-frame CT or MR is a stack to scroll, an ultrasound loop plays. */
function frameTime(series: Series, instance: Instance): number | null {
  if (instance.frame_time_ms !== null && instance.frame_time_ms > 0) return instance.frame_time_ms;
  return MOVING.has(series.modality) ? DEFAULT_FRAME_TIME_MS : null;
}

/** What must be seen before this study may be signed: all that has a view, in its newest content. */
export function toPaintOf(view: View): Painted[] {
  if (view.kind !== "images") return [{ sop_uid: view.sopUid, v: view.v }];
  return [...new Map(view.frames.map((frame) => [frame.sopUid, frame.v]))].map(([sop_uid, v]) => ({ sop_uid, v }));
}

/** Is this picture one that a newer content has replaced in the view? */
export function isReplaced(view: ImageView, shown: Frame): boolean {
  const same = view.frames.filter((frame) => frame.sopUid === shown.sopUid);
  return same.length > 0 && same.every((frame) => frame.v !== shown.v);
}

/** The stack in the order of space, in the direction of the device's numbers, when positions are known and differ; else as it was. */
export function bySpace(view: ImageView, positionOf: (frame: Frame) => SlicePosition | null): ImageView {
  if (view.frameTimeMs !== null || view.frames.length < 2) return view;
  const placed = view.frames.map((frame) => ({ frame, at: positionOf(frame) }));
  const first = placed[0]?.at;
  if (first === null || first === undefined) return view;
  if (placed.some(({ at }) => at === null || !sameDirection(at.normal, first.normal))) return view;
  const along = (at: SlicePosition): number => at.position[0] * first.normal[0] + at.position[1] * first.normal[1] + at.position[2] * first.normal[2];
  const depths = placed.map(({ frame, at }) => ({ frame, depth: along(at as SlicePosition) }));
  // Two pictures at one place (phases, echoes): only the device's numbers keep them apart.
  if (new Set(depths.map(({ depth }) => depth.toFixed(2))).size < depths.length) return view;
  const before = depths.map(({ depth }) => depth);
  const rising = (before[before.length - 1] ?? 0) >= (before[0] ?? 0) ? 1 : -1;
  depths.sort((a, b) => rising * (a.depth - b.depth));
  return { ...view, frames: depths.map(({ frame }) => frame) };
}

type Vector = readonly [number, number, number];

export interface SlicePosition {
  /** Image Position (Patient), mm. */
  readonly position: Vector;
  /** Unit normal of the slice. */
  readonly normal: Vector;
}

const sameDirection = (a: Vector, b: Vector): boolean => Math.abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) > 0.999;
