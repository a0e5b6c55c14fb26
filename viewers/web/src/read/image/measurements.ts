// Which lengths were measured in the pictures?

import { metaData, type Types } from "@cornerstonejs/core";
import { annotation } from "@cornerstonejs/tools";
import { LENGTH_TOOL } from "./engine";
import { type Length, signOf } from "./measured";
import type { Spacing } from "./metadata";

/** All lengths, in the order they were made. */
export function lengths(spacing: (imageId: string) => Spacing): Length[] {
  const all = annotation.state.getAllAnnotations().filter((one) => one.metadata?.toolName === LENGTH_TOOL);
  return all.flatMap((one, i) => {
    const points = one.data.handles?.points;
    const imageId = one.metadata?.referencedImageId;
    if (one.annotationUID === undefined || points?.length !== 2 || imageId === undefined) return [];
    const ends: [Types.Point3, Types.Point3] = [points[0] as Types.Point3, points[1] as Types.Point3];
    return [{ id: one.annotationUID, sign: signOf(i), imageId, ends, ...valueOf(one.data, imageId, ends, spacing(imageId)) }];
  });
}

function valueOf(
  data: { cachedStats?: unknown },
  imageId: string,
  [a, b]: readonly [Types.Point3, Types.Point3],
  spacing: Spacing,
): Pick<Length, "value" | "unit" | "atDetector"> {
  // An ultrasound region carries its own scale, which the tool has applied; outside a region it counts pixels.
  const calibration = metaData.get("calibrationModule", imageId) as { sequenceOfUltrasoundRegions?: unknown } | undefined;
  if (calibration?.sequenceOfUltrasoundRegions !== undefined) {
    const stats = Object.values((data.cachedStats ?? {}) as Record<string, { length?: number; unit?: string }>)[0];
    const centimetres = stats?.unit?.startsWith("cm") === true;
    return { value: (stats?.length ?? 0) * (centimetres ? 10 : 1), unit: centimetres ? "mm" : "px", atDetector: false };
  }
  const value = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
  return { value, unit: spacing === "none" ? "px" : "mm", atDetector: spacing === "detector" };
}

export function removeLength(id: string): void {
  annotation.state.removeAnnotation(id);
}

/** The one chosen with the pointer, else the last one made. */
export function chosenLength(): string | null {
  const chosen = annotation.selection.getAnnotationsSelected()[0];
  if (chosen !== undefined) return chosen;
  const all = annotation.state.getAllAnnotations();
  return all[all.length - 1]?.annotationUID ?? null;
}
