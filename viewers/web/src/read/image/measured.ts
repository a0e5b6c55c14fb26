// How is a measured length said?

/** A point in space, mm (or picture pixels where the picture has no scale). */
export type Point = readonly [number, number, number];

export interface Length {
  readonly id: string;
  /** ①, ②: the same on the picture and in the panel. */
  readonly sign: string;
  readonly imageId: string;
  readonly value: number;
  readonly unit: "mm" | "px";
  /** Measured at the detector, larger than the body part by the magnification. */
  readonly atDetector: boolean;
  readonly ends: readonly [Point, Point];
}

const SIGNS = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳";

export const signOf = (index: number): string => SIGNS[index] ?? String(index + 1);

/** "8.2 mm": a tenth of a millimetre, whole pixels. */
export const lengthWords = ({ value, unit }: Pick<Length, "value" | "unit">): string =>
  unit === "px" ? `${Math.round(value)} px` : `${value.toFixed(1)} ${unit}`;
