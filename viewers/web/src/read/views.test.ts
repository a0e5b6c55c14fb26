// Is everything in a study found that must be looked at, and is it known what was?
import { describe, expect, it } from "vitest";
import type { Instance, Series } from "../lib/api";
import { following } from "./history";
import { PaintedFacts } from "./painted";
import { bySpace, type ImageView, isReplaced, toPaintOf, type View, viewsOf } from "./views";

const instance = (uid: string, more: Partial<Instance> = {}): Instance => ({
  uid, v: "1", number: 1, sop_class: "1.2", frames: 1, rows: 512, columns: 512, kind: "image", frame_time_ms: null, ...more,
});
const series = (uid: string, instances: Instance[], more: Partial<Series> = {}): Series => ({
  uid, modality: "CT", number: 1, description: null, body_part: null, instances, ...more,
});

const uidsOf = (view: View): string[] => toPaintOf(view).map((one) => one.sop_uid);
const painted = (facts: PaintedFacts): string[] => facts.painted.map((one) => `${one.sop_uid}:${one.v}`);

describe("views", () => {
  it("are one stack of single pictures by number, and one of each loop", () => {
    const views = viewsOf([series("s", [instance("b", { number: 2 }), instance("a"), instance("loop", { number: 3, frames: 30 })], { modality: "US" })]);
    expect(views.map((view) => view.kind)).toEqual(["images", "images"]);
    expect(uidsOf(views[0]!)).toEqual(["a", "b"]);
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
    facts.opened(views[0]!);
    facts.here("a", "1");
    facts.here("c", "1");
    expect(facts.painted).toEqual([{ sop_uid: "a", v: "1" }]); // c is here, but nobody opened its view
    facts.here("b", "1");
    expect(facts.complete).toBe(false);
    expect(facts.unopened.map((view) => view.key)).toEqual(["two"]);
    facts.opened(views[1]!);
    expect(facts.complete).toBe(true);
    expect(painted(facts)).toEqual(["a:1", "b:1", "c:1"]);
  });

  it("of a view that grew must be opened again", () => {
    const views = viewsOf([one]);
    const facts = new PaintedFacts(views);
    facts.opened(views[0]!);
    facts.here("a", "1");
    facts.here("b", "1");
    expect(facts.complete).toBe(true);
    const more = viewsOf([series("one", [...one.instances, instance("late", { number: 3 })])]);
    const grown = facts.over(more);
    expect(grown.complete).toBe(false);
    expect(grown.painted).toEqual([]);
    grown.opened(more[0]!);
    grown.here("late", "1");
    expect(painted(grown)).toEqual(["a:1", "b:1", "late:1"]);
  });

  it("of a content is not painted in another one under the same UID", () => {
    const views = viewsOf([one, two]);
    const facts = new PaintedFacts(views);
    for (const view of views) facts.opened(view);
    for (const uid of ["a", "b", "c"]) facts.here(uid, "1");
    expect(facts.complete).toBe(true);
    const renewed = viewsOf([series("one", [instance("a", { v: "2" }), instance("b", { number: 2 })]), two]);
    const now = facts.over(renewed);
    expect(painted(now)).toEqual(["c:1"]);
    now.opened(views[0]!); // a last picture of the former stack
    now.here("a", "1");
    expect(painted(now)).toEqual(["c:1"]);
    now.opened(renewed[0]!);
    expect(painted(now)).toEqual(["b:1", "c:1"]);
    now.here("a", "2");
    expect(painted(now)).toEqual(["a:2", "b:1", "c:1"]);
    expect(now.complete).toBe(true);
    const [before, after] = [views[0], renewed[0]] as [ImageView, ImageView];
    expect(before.frames.map((frame) => isReplaced(after, frame))).toEqual([true, false]);
    expect(isReplaced(after, (views[1] as ImageView).frames[0]!)).toBe(false); // another series, not another content
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
