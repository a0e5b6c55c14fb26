// Is an ECG laid out true to scale, and is no sample that matters lost on the way to the screen?
import { describe, expect, it } from "vitest";
import { decimate } from "./decimate";
import { baselineMm, layoutOf, scaleFor, SHEET_WIDTH_MM, sheetCount, STANDARD_LEADS } from "./layout";
import { problemWords } from "./problems";
import { recordingOf, samplesOf } from "./recording";
import { measure } from "./sheet";
import { filterWords, measuredWords } from "./words";

const base64 = (values: number[]): string => btoa(String.fromCharCode(...new Uint8Array(Float32Array.from(values).buffer)));

describe("the sheet", () => {
  it("puts twelve leads in 3×4 with a rhythm strip of ten seconds", () => {
    const layout = layoutOf(STANDARD_LEADS);
    expect(layout).toMatchObject({ name: "3×4+1", rhythm: "II", rows: 4 });
    expect(layout.cells.filter((cell) => cell.row === 1).map((cell) => cell.lead)).toEqual(["II", "aVL", "V2", "V5"]);
    expect(layout.cells.find((cell) => cell.lead === "V6")).toMatchObject({ xMm: 10 + 7.5 * 25, fromS: 7.5, toS: 10 });
    expect(layout.cells.at(-1)).toMatchObject({ lead: "II", row: 3, fromS: 0, toS: 10 });
  });

  it("says a lead that is missing, and gives extra leads rows of their own", () => {
    const layout = layoutOf([...STANDARD_LEADS.filter((lead) => lead !== "V3"), "V7"]);
    expect(layout.cells.find((cell) => cell.lead === "V3")?.missing).toBe(true);
    expect(layout.cells.at(-1)).toMatchObject({ lead: "V7", row: 4 });
  });

  it("gives few leads a row each", () => {
    expect(layoutOf(["MLII", "V5"])).toMatchObject({ name: "2×1", rows: 2, rhythm: null });
  });

  it("is as large as the width allows, in tenths of a pixel, and keeps every row on the page", () => {
    const wide = scaleFor(1452, 932, 4);
    expect(wide.pxPerMm).toBe(5.5);
    expect(wide.pxPerMm * SHEET_WIDTH_MM).toBeLessThanOrEqual(1452);
    const low = scaleFor(1452, 200, 4);
    expect(low.pxPerMm * low.rowMm * 4).toBeLessThanOrEqual(200);
    expect(Number.isInteger(baselineMm(2, wide.rowMm))).toBe(true);
  });

  it("counts sheets of ten seconds", () => {
    expect([9.8, 10, 10.3, 12, 30].map(sheetCount)).toEqual([1, 1, 1, 2, 3]);
  });
});

describe("decimation", () => {
  it("keeps every sample when there is room", () => {
    expect([...decimate(Float32Array.from([1, 2, 3]), 0, 3, 1)]).toEqual([0, 1, 1, 2, 2, 3]);
  });

  it("keeps a spike of one sample, and draws only recorded points", () => {
    const samples = Float32Array.from({ length: 1000 }, (_, i) => (i === 617 ? 900 : i % 3));
    const points = decimate(samples, 0, 1000, 0.1);
    expect(points.length / 2).toBeLessThan(500);
    const pairs = Array.from({ length: points.length / 2 }, (_, i) => [points[2 * i]!, points[2 * i + 1]!] as const);
    expect(pairs.some(([x, y]) => y === 900 && Math.abs(x - 61.7) < 1e-9)).toBe(true);
    for (const [x, y] of pairs) expect(samples[Math.round(x / 0.1)]).toBe(y);
    expect(pairs.every(([x], i) => i === 0 || x > pairs[i - 1]![0])).toBe(true);
  });

  it("breaks the line where nothing was recorded", () => {
    const samples = Float32Array.from({ length: 40 }, (_, i) => (i === 20 ? Number.NaN : 5));
    expect([...decimate(samples, 0, 40, 0.1)].some(Number.isNaN)).toBe(true);
  });
});

describe("samples", () => {
  it("come as little-endian float32", () => {
    expect([...samplesOf(base64([1.5, -2]))]).toEqual([1.5, -2]);
    expect(() => samplesOf(btoa("abc"))).toThrow(RangeError);
  });

  it("far off their zero line are moved back, and it is known", () => {
    const lead = (values: number[]) => ({ name: "I", samples_uv: base64(values), min_uv: 0, max_uv: 0 });
    const ecg = { sop_uid: "1", v: "0", acquired_at: null, sampling_hz: 500, seconds: 1, leads: [lead([4000, 4010, 4020]), lead([10, 20, 900])],
      filter: { low_hz: null, high_hz: null, notch_hz: null }, device: { manufacturer: null, model: null, serial: null },
      device_values: { heart_rate_bpm: null, pr_ms: null, qrs_ms: null, qt_ms: null, qtc_ms: null, axis_deg: { p: null, qrs: null, t: null }, statements: [] }, problems: [] };
    expect(recordingOf(ecg).leads.map((one) => one.shiftUv)).toEqual([4010, 0]);
  });
});

describe("words", () => {
  it("say the filter as recorded and guess nothing", () => {
    expect(filterWords({ low_hz: 0.05, high_hz: 150, notch_hz: null })).toBe("0.05–150 Hz");
    expect(filterWords({ low_hz: 0.05, high_hz: 150, notch_hz: 50 })).toContain("50 Hz");
    expect(filterWords({ low_hz: null, high_hz: null, notch_hz: null })).toBe("滤波未注明");
  });

  it("gather the leads of one problem, and show an unknown code as it is", () => {
    expect(problemWords(["flat:V2", "flat:V3", "no_time_zone", "new_code"])).toEqual(["V2、V3 为直线", "采集时间没有时区", "new_code"]);
  });

  it("measure 25 mm as one second and 10 mm up as one millivolt", () => {
    const value = measure({ x: 100, y: 300 }, { x: 100 + 25 * 5.5, y: 300 - 10 * 5.5 }, 5.5);
    expect(value.ms).toBeCloseTo(1000);
    expect(value.mv).toBeCloseTo(1);
    expect(measuredWords(value)).toBe("1000 ms · 60 /min · 1.00 mV");
  });
});
