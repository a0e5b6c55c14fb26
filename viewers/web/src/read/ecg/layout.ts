// Where on the sheet does each lead stand, and how large is one millimetre?
//
// Lengths are millimetres of ECG paper, instants are seconds from the start of the recording. 25 mm/s and 10 mm/mV are
// the usual paper speed and gain (AHA/ACC/HRS recommendations for the standardization of the ECG, part I, 2007).

export const SPEED_MM_PER_S = 25;
export const GAIN_MM_PER_MV = 10;
/** Calibration pulse: 1 mV for 200 ms. */
export const PULSE = { mv: 1, seconds: 0.2 } as const;

/** Leads of the standard ECG, in the order of the 3×4 sheet read down its columns. */
export const STANDARD_LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"] as const;

const PULSE_WIDTH_MM = 10;
const SHEET_SECONDS = 10;
const RIGHT_MM = 2;
/** Pulse, ten seconds of paper, a narrow edge. */
export const SHEET_WIDTH_MM = PULSE_WIDTH_MM + SHEET_SECONDS * SPEED_MM_PER_S + RIGHT_MM;

const MIN_ROW_MM = 15;
const MAX_ROW_MM = 45;
/** The zero line stands a little below the middle: R waves are taller than S waves are deep. */
const BASELINE_SHARE = 0.6;

/** One lead over one stretch of time. `missing` says that the recording has no such lead. */
export interface Cell {
  readonly lead: string;
  readonly row: number;
  readonly xMm: number;
  readonly fromS: number;
  readonly toS: number;
  readonly missing: boolean;
}

export interface Layout {
  /** "3×4+1" or "n×1". */
  readonly name: string;
  readonly rhythm: string | null;
  readonly rows: number;
  readonly cells: readonly Cell[];
}

export interface Scale {
  /** CSS pixels per millimetre, the same both ways. */
  readonly pxPerMm: number;
  readonly rowMm: number;
}

/** Which leads stand where. `startS` is where the sheet begins in a recording longer than ten seconds. */
export function layoutOf(leads: readonly string[], startS = 0): Layout {
  const standard = STANDARD_LEADS.filter((lead) => leads.includes(lead));
  const others = leads.filter((lead) => !(STANDARD_LEADS as readonly string[]).includes(lead));
  if (standard.length < 6) return oneRowEach(leads, startS);
  const rhythm = leads.includes("II") ? "II" : (standard[0] ?? null);
  const cells: Cell[] = [];
  const quarter = SHEET_SECONDS / 4;
  STANDARD_LEADS.forEach((lead, k) => {
    const column = Math.floor(k / 3);
    cells.push(cell(lead, k % 3, startS + column * quarter, quarter, column * quarter, !leads.includes(lead)));
  });
  const rows = [...(rhythm === null ? [] : [rhythm]), ...others];
  rows.forEach((lead, k) => cells.push(cell(lead, 3 + k, startS, SHEET_SECONDS, 0, false)));
  return { name: `3×4+${rows.length}`, rhythm, rows: 3 + rows.length, cells };
}

function oneRowEach(leads: readonly string[], startS: number): Layout {
  const cells = leads.map((lead, row) => cell(lead, row, startS, SHEET_SECONDS, 0, false));
  return { name: `${leads.length}×1`, rhythm: null, rows: Math.max(1, leads.length), cells };
}

function cell(lead: string, row: number, fromS: number, seconds: number, atS: number, missing: boolean): Cell {
  return { lead, row, xMm: PULSE_WIDTH_MM + atS * SPEED_MM_PER_S, fromS, toS: fromS + seconds, missing };
}

/**
 * As large as the width allows, but never so large that a row falls off the sheet.
 * Tenths of a pixel keep the figure that is said in words exact.
 */
export function scaleFor(widthPx: number, heightPx: number, rows: number): Scale {
  const byWidth = widthPx / SHEET_WIDTH_MM;
  const byHeight = heightPx / (rows * MIN_ROW_MM);
  const pxPerMm = Math.max(1, Math.floor(Math.min(byWidth, byHeight) * 10) / 10);
  const rowMm = Math.min(MAX_ROW_MM, Math.max(MIN_ROW_MM, Math.floor(heightPx / pxPerMm / rows)));
  return { pxPerMm, rowMm };
}

/** The zero line of a row, on a whole millimetre so that it lies on the grid. */
export function baselineMm(row: number, rowMm: number): number {
  return Math.round((row + BASELINE_SHARE) * rowMm);
}

/** How many sheets of ten seconds a recording fills; a rest under half a second is not worth a sheet. */
export function sheetCount(seconds: number): number {
  return Math.max(1, Math.ceil((seconds - 0.5) / SHEET_SECONDS));
}

/** Where a sheet begins, in seconds. */
export function sheetStart(sheet: number): number {
  return sheet * SHEET_SECONDS;
}
