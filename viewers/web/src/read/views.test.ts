// Is everything in a study found that must be looked at, and is it known what was?
import { describe, expect, it } from "vitest";
import type { Instance, Series } from "../lib/api";
import { following } from "./history";
import { PaintedFacts } from "./painted";
import { bySpace, type ImageView, sopUidsOf, viewsOf } from "./views";

const instance = (uid: string, more: Partial<Instance> = {}): Instance => ({
  uid, number: 1, sop_class: "1.2", frames: 1, rows: 512, columns: 512, kind: "image", frame_time_ms: null, ...more,
});
const series = (uid: string, instances: Instance[], more: Partial<Series> = {}): Series => ({
  uid, modality: "CT", number: 1, description: null, body_part: null, instances, ...more,
});

describe("views", () => {
  it("are one stack of single pictures by number, and one of each loop", () => {
    const views = viewsOf([series("s", [instance("b", { number: 2 }), instance("a"), instance("loop", { number: 3, frames: 30 })], { modality: "US" })]);
    expect(views.map((view) => view.kind)).toEqual(["images", "images"]);
    expect(sopUidsOf(views[0]!)).toEqual(["a", "b"]);
    expect(views[1]).toMatchObject({ frameTimeMs: 40 });
    expect((views[1] as ImageView).frames).toHaveLength(30);
  });

  it("do not play a multi-frame CT", () => {
    expect(viewsOf([series("s", [instance("a", { frames: 60 })])])[0]).toMatchObject({ frameTimeMs: null });
  });

  it("show ECGs first, documents last, and nothing for other objects", () => {
    const views = viewsOf([series("1", [instance("pdf", { kind: "pdf" }), instance("sr", { kind: "other" })]), series("2", [instance("img")]), series("3", [instance("ecg", { kind: "ecg" })])]);
    expect(views.map((view) => view.kind)).toEqual(["ecg", "images", "pdf"]);
  });

  it("are ordered by space when the device's numbers are not", () => {
    const [view] = viewsOf([series("s", ["a", "b", "c"].map((uid, i) => instance(uid, { number: i + 1 })))]) as [ImageView];
    const depth: Record<string, number> = { a: 0, b: 20, c: 10 };
    const at = (frame: { sopUid: string }) => ({ position: [0, 0, depth[frame.sopUid]!] as const, normal: [0, 0, 1] as const });
    expect(bySpace(view, at).frames.map((frame) => frame.sopUid)).toEqual(["a", "c", "b"]);
    expect(bySpace(view, () => null).frames.map((frame) => frame.sopUid)).toEqual(["a", "b", "c"]);
    const phases = bySpace(view, () => ({ position: [0, 0, 5] as const, normal: [0, 0, 1] as const }));
    expect(phases.frames.map((frame) => frame.sopUid)).toEqual(["a", "b", "c"]);
  });
});

describe("what was painted", () => {
  const one = series("one", [instance("a"), instance("b", { number: 2 })]);
  const two = series("two", [instance("c")], { number: 2 });

  it("is complete when every view was opened and everything in it is here", () => {
    const views = viewsOf([one, two]);
    const facts = new PaintedFacts(views);
    facts.opened("one");
    facts.here("a");
    facts.here("c");
    expect(facts.painted).toEqual(["a"]); // c is here, but nobody opened its view
    facts.here("b");
    expect(facts.complete).toBe(false);
    expect(facts.unopened.map((view) => view.key)).toEqual(["two"]);
    facts.opened("two");
    expect(facts.complete).toBe(true);
    expect(facts.painted).toEqual(["a", "b", "c"]);
  });

  it("of a view that grew must be opened again", () => {
    const facts = new PaintedFacts(viewsOf([one]));
    facts.opened("one");
    facts.here("a");
    facts.here("b");
    expect(facts.complete).toBe(true);
    const grown = facts.over(viewsOf([series("one", [...one.instances, instance("late", { number: 3 })])]));
    expect(grown.complete).toBe(false);
    expect(grown.painted).toEqual([]);
    grown.opened("one");
    grown.here("late");
    expect(grown.painted).toEqual(["a", "b", "late"]);
  });

  it("of a study with nothing to look at is complete", () => {
    expect(new PaintedFacts([]).complete).toBe(true);
  });
});

describe("the next case", () => {
  const task = (id: string, state = "OPEN", mine = false) => ({ id, state, mine });
  const list = [task("a", "CLAIMED", true), task("b"), task("c", "CLAIMED"), task("d")];
  const ids = (open: string): string[] => following(list, open).map((one) => one.id);

  it("is the one after this in the list, never somebody else's", () => {
    expect(ids("b")).toEqual(["d", "a"]);
    expect(ids("d")).toEqual(["a", "b"]);
  });

  it("is the top of the list when this case has left it", () => {
    expect(ids("gone")).toEqual(["a", "b", "d"]);
  });
});
