// What does the viewer need to read from DICOM JSON, and what must be mended before it is shown?

import type { Window } from "./presets";
import type { SlicePosition } from "../views";

/** One instance as DICOM JSON Model (PS3.18 annex F). */
export type Json = Record<string, { vr?: string; Value?: unknown[]; InlineBinary?: string; BulkDataURI?: string }>;

const PIXEL_SPACING = "00280030";
const IMAGER_PIXEL_SPACING = "00181164";

const numbers = (json: Json, tag: string): number[] => (json[tag]?.Value ?? []).map(Number).filter((value) => Number.isFinite(value));
const text = (json: Json, tag: string): string => String(json[tag]?.Value?.[0] ?? "");

export const sopUidOf = (json: Json): string => text(json, "00080018");
export const isMonochrome1 = (json: Json | undefined): boolean => json !== undefined && text(json, "00280004") === "MONOCHROME1";
export const modalityOf = (json: Json): string => text(json, "00080060");

/**
 * A copy that can be shown: spacings that are zero or not numbers would scale the picture to nothing and are left out;
 * where only the detector's spacing is known, it is the picture's.
 */
export function mended(json: Json): Json {
  const copy = { ...json };
  for (const tag of [PIXEL_SPACING, IMAGER_PIXEL_SPACING]) {
    if (json[tag] !== undefined && pairOf(json, tag) === null) delete copy[tag];
  }
  const imager = copy[IMAGER_PIXEL_SPACING];
  if (copy[PIXEL_SPACING] === undefined && imager !== undefined) copy[PIXEL_SPACING] = imager;
  return copy;
}

function pairOf(json: Json, tag: string): readonly [number, number] | null {
  const [row, column] = numbers(json, tag);
  return row !== undefined && column !== undefined && row > 0 && column > 0 ? [row, column] : null;
}

/** How a length in this picture may be called. */
export type Spacing = "mm" | "detector" | "none";

/**
 * Pixel Spacing is at the patient, Imager Pixel Spacing at the detector, where everything is larger by the magnification.
 * A Pixel Spacing that only repeats the detector's, without a calibration, is the detector's (PS3.3 10.7.1.3).
 */
export function spacingOf(json: Json): Spacing {
  const own = pairOf(json, PIXEL_SPACING);
  const imager = pairOf(json, IMAGER_PIXEL_SPACING);
  if (own !== null) {
    const repeated = imager !== null && own[0] === imager[0] && own[1] === imager[1] && text(json, "00280A02") === "";
    return repeated ? "detector" : "mm";
  }
  if (hasSharedSpacing(json) || (json["00186011"]?.Value ?? []).length > 0) return "mm"; // enhanced objects, ultrasound regions
  return imager === null ? "none" : "detector";
}

/** Pixel Measures of an enhanced multi-frame object, for all frames or for the first. */
function hasSharedSpacing(json: Json): boolean {
  return ["52009229", "52009230"].some((groups) => {
    const item = (json[groups]?.Value?.[0] as Json | undefined)?.["00289110"]?.Value?.[0] as Json | undefined;
    return item !== undefined && pairOf(item, PIXEL_SPACING) !== null;
  });
}

/** The windows the device wrote, with their explanations. */
export function windowsOf(json: Json): { windows: Window[]; explained: string[] } {
  const centers = numbers(json, "00281050");
  const widths = numbers(json, "00281051");
  const windows = centers.slice(0, widths.length).map((center, i) => ({ center, width: widths[i] ?? 0 }));
  return { windows, explained: (json["00281055"]?.Value ?? []).map(String) };
}

/** Where the slice lies; null when the picture has no place in space. */
export function positionOf(json: Json): SlicePosition | null {
  const position = numbers(json, "00200032");
  const turn = numbers(json, "00200037");
  if (position.length < 3 || turn.length < 6) return null;
  const [a, b, c, d, e, f] = turn as [number, number, number, number, number, number];
  return {
    position: [position[0] as number, position[1] as number, position[2] as number],
    normal: [b * f - c * e, c * d - a * f, a * e - b * d],
  };
}

/** "−182.0 mm" along the normal, or null. */
export function depthWords(json: Json): string | null {
  const at = positionOf(json);
  if (at === null) return null;
  const depth = at.position.reduce((sum, value, i) => sum + value * (at.normal[i] ?? 0), 0);
  return `${depth.toFixed(1).replace("-", "−")} mm`;
}

/** The letter at the left edge of the picture as stored ("R" for a usual axial slice); null when not known. */
export function leftLetter(json: Json): string | null {
  const turn = numbers(json, "00200037");
  if (turn.length >= 6) {
    const row = turn.slice(0, 3);
    const k = row.reduce((best, value, i) => (Math.abs(value) > Math.abs(row[best] ?? 0) ? i : best), 0);
    const towards = (row[k] ?? 0) > 0;
    return (towards ? ["R", "A", "F"] : ["L", "P", "H"])[k] ?? null;
  }
  // Patient Orientation (0020,0020) names where the row and the column run to; the left edge is the other end.
  const runsTo = String(json["00200020"]?.Value?.[0] ?? "").charAt(0);
  return { L: "R", R: "L", A: "P", P: "A", H: "F", F: "H" }[runsTo] ?? null;
}
