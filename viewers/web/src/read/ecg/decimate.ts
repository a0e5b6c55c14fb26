// Which samples of a lead must be drawn so that the trace looks as if all were?

/** A polyline: x in pixels from the start of the stretch, y in the samples' own unit. A NaN pair breaks the line. */
export type Points = Float64Array;

/**
 * Keep of each pixel column the first, lowest, highest and last sample, in their order, where they really are.
 *
 * Nothing is averaged or moved, so no notch or spike is lost and every drawn point is a recorded one.
 * With more than half a pixel per sample all samples are kept.
 */
export function decimate(samples: Float32Array, from: number, to: number, pxPerSample: number): Points {
  const first = Math.max(0, from);
  const last = Math.min(samples.length, to);
  const points: number[] = [];
  const keep = (i: number): void => {
    points.push((i - from) * pxPerSample, samples[i] ?? Number.NaN);
  };
  if (pxPerSample > 0.5) {
    for (let i = first; i < last; i++) keep(i);
    return Float64Array.from(points);
  }
  let i = first;
  while (i < last) {
    const column = Math.floor((i - from) * pxPerSample);
    const begin = i;
    let low = -1;
    let high = -1;
    let gap = -1;
    for (; i < last && Math.floor((i - from) * pxPerSample) === column; i++) {
      const value = samples[i] ?? Number.NaN;
      if (Number.isNaN(value)) gap = i;
      else {
        if (low < 0 || value < (samples[low] ?? 0)) low = i;
        if (high < 0 || value > (samples[high] ?? 0)) high = i;
      }
    }
    const kept = new Set([begin, low, high, gap, i - 1]);
    for (const k of [...kept].filter((k) => k >= 0).sort((a, b) => a - b)) keep(k);
  }
  return Float64Array.from(points);
}
