// Do pictures come in a good order, with the right windows, scales and speed?
import { describe, expect, it, vi } from "vitest";
import { Cine } from "./cine";
import { Loader } from "./loader";
import { lengthWords } from "./measured";
import { depthWords, type Json, leftLetter, mended, positionOf, spacingOf, windowsOf } from "./metadata";
import { presetsFor, windowWords } from "./presets";

const json = (values: Record<string, unknown[]>): Json => Object.fromEntries(Object.entries(values).map(([tag, Value]) => [tag, { Value }]));
const settled = async (): Promise<void> => { for (let i = 0; i < 20; i++) await Promise.resolve(); };

describe("the loader", () => {
  const held = () => {
    const open = new Map<number, { done: () => void; fail: () => void }>();
    const asked: number[] = [];
    const load = (i: number): Promise<void> => {
      asked.push(i);
      return new Promise((done, fail) => open.set(i, { done, fail: () => fail(new Error("no")) }));
    };
    return { open, asked, load };
  };

  it("fetches outwards from the picture in front, further ahead than behind", async () => {
    const { asked, load, open } = held();
    const loader = new Loader(100, load, { parallel: 2, most: 100, changed: vi.fn() });
    loader.focus(50);
    expect(asked).toEqual([50, 51]);
    open.get(50)!.done();
    await settled();
    open.get(51)!.done();
    await settled();
    expect(asked.slice(2)).toEqual([52, 49]);
    loader.focus(10);
    open.get(52)!.done();
    await settled();
    expect(asked.at(-1)).toBe(10); // the person jumped
  });

  it("fetches what is needed now at once, and only once", async () => {
    const { asked, load, open } = held();
    const loader = new Loader(10, load, { parallel: 1, most: 10, changed: vi.fn() });
    loader.focus(0);
    const needed = loader.need(7);
    expect(loader.need(7)).toBe(needed);
    expect(asked).toEqual([0, 7]);
    open.get(7)!.done();
    await needed;
    expect(loader.state(7)).toBe("loaded");
  });

  it("says what failed, and tries it again when it is asked for", async () => {
    const { asked, load, open } = held();
    const loader = new Loader(3, load, { parallel: 1, most: 3, changed: vi.fn() });
    loader.focus(0);
    open.get(0)!.fail();
    await settled();
    expect(loader.failed).toBe(0);
    const again = loader.need(0);
    expect(asked.filter((i) => i === 0)).toHaveLength(2);
    open.get(0)!.done();
    await again;
    expect(loader.failed).toBeNull();
  });

  it("does not fetch more ahead than may be kept", async () => {
    const { asked, load, open } = held();
    const loader = new Loader(10, load, { parallel: 5, most: 3, changed: vi.fn() });
    loader.focus(0);
    for (const one of open.values()) one.done();
    await settled();
    expect(asked).toHaveLength(3);
    expect(loader.settled).toBe(true);
  });

  it("rests while another stack is in front", () => {
    const { asked, load } = held();
    const loader = new Loader(10, load, { parallel: 2, most: 10, changed: vi.fn() });
    loader.pause(true);
    loader.focus(0);
    expect(asked).toEqual([]);
    loader.pause(false);
    expect(asked).toEqual([0, 1]);
  });
});

describe("cine", () => {
  it("keeps the recorded time whatever the computer does", () => {
    const cine = new Cine(30, 1000 / 25);
    cine.play(0, 0);
    expect([0, 39, 41, 1000, 1199, 1201].map((at) => cine.index(at))).toEqual([0, 0, 1, 25, 29, 0]);
  });

  it("changes its speed without a jump", () => {
    const cine = new Cine(100, 100);
    cine.play(0, 0);
    const before = cine.index(2000);
    cine.speed(1, 2000);
    expect(cine.index(2000)).toBe(before);
    expect(cine.perSecond).toBeCloseTo(12.5);
  });
});

describe("windows", () => {
  it("of CT are those of the number keys", () => {
    const presets = presetsFor("CT", [], []);
    expect(presets[0]).toMatchObject({ key: 1, center: -600, width: 1500 });
    expect(presets).toHaveLength(9);
    expect(windowWords(presets[0]!)).toBe("L −600 W 1500");
  });

  it("of other pictures are their own, with a harder and a flatter one", () => {
    const { windows, explained } = windowsOf(json({ "00281050": [600, 800], "00281051": [1600, 400], "00281055": ["NORMAL", "HARDER"] }));
    const presets = presetsFor("MR", windows, explained);
    expect(presets.map((one) => [one.key, one.center, one.width])).toEqual([[1, 600, 1600], [2, 800, 400], [3, 600, 960], [4, 600, 2560]]);
    expect(presets[0]?.name[0]).toBe("NORMAL");
    expect(presetsFor("US", [], [])).toEqual([]);
  });
});

describe("scale and place", () => {
  it("is the patient's, the detector's, or none", () => {
    expect(spacingOf(json({ "00280030": [0.7, 0.7] }))).toBe("mm");
    expect(spacingOf(json({ "00181164": [0.14, 0.14] }))).toBe("detector");
    expect(spacingOf(json({ "00280030": [0.14, 0.14], "00181164": [0.14, 0.14] }))).toBe("detector");
    expect(spacingOf(json({ "00280030": [0.13, 0.13], "00181164": [0.14, 0.14], "00280A02": ["FIDUCIAL"] }))).toBe("mm");
    expect(spacingOf(json({ "00280030": [0, 0] }))).toBe("none");
    expect(spacingOf({ "52009229": { Value: [{ "00289110": { Value: [json({ "00280030": [1, 1] })] } }] } })).toBe("mm");
  });

  it("never scales a picture to nothing, and takes the detector's where there is no other", () => {
    expect(mended(json({ "00280030": [0, 0] }))["00280030"]).toBeUndefined();
    expect(mended(json({ "00181164": [0.14, 0.14] }))["00280030"]?.Value).toEqual([0.14, 0.14]);
  });

  it("names the left edge by the direction of the rows", () => {
    expect(leftLetter(json({ "00200037": [1, 0, 0, 0, 1, 0] }))).toBe("R");
    expect(leftLetter(json({ "00200037": [0, 1, 0, 0, 0, -1] }))).toBe("A");
    expect(leftLetter(json({ "00200020": ["L", "F"] }))).toBe("R");
    expect(leftLetter(json({}))).toBeNull();
  });

  it("says where a slice lies", () => {
    const slice = json({ "00200037": [1, 0, 0, 0, 1, 0], "00200032": [-100, -100, -182] });
    expect(positionOf(slice)?.normal).toEqual([0, 0, 1]);
    expect(depthWords(slice)).toBe("−182.0 mm");
  });

  it("says lengths in tenths of a millimetre, or in whole pixels", () => {
    expect(lengthWords({ value: 8.24, unit: "mm" })).toBe("8.2 mm");
    expect(lengthWords({ value: 55.4, unit: "px" })).toBe("55 px");
  });
});
