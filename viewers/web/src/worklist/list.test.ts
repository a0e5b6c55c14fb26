// Does the list keep still under a hand, and in order without one?
import { describe, expect, it } from "vitest";
import type { Task } from "../lib/api";
import { append, apply, belongs, closeLeft, inView, NO_ROWS, order, reconcile, settle, type Filter, type Rows } from "./list";

const at = (minutes: number): string => new Date(Date.UTC(2026, 10, 23, 6, 0) + minutes * 60_000).toISOString();
function task(id: string, priority: Task["priority"], due: number, more: Partial<Task> = {}): Task {
  return {
    id, version: 1, kind: "ECG", specialty: "ecg", priority, state: "OPEN", due_at: at(due), target_seconds: 1800, received_at: at(0), lease_until: null,
    claimed_by: null, mine: false, draft_saved_at: null,
    patient: { name: "丁^建国", name_latin: null, id: "1", sex: "M", birth_date: null, age: null },
    site: { key: "ZY", name: "张易镇", name_en: "Zhangyi" },
    study: { id: `s${id}`, uid: "1.2", description: "", date: null, accession: null, modalities: ["ECG"], series_count: 1, instance_count: 1, received_at: at(0), acquired_at: null },
    question: null, marks: [], follows: null, ...more,
  };
}
const rows = (...shown: Task[]): Rows => ({ ...NO_ROWS, shown });
const ids = (list: Rows): string[] => list.shown.map((one) => one.id);
const any = (): boolean => true;
const ALL: Filter = { tab: "all", priority: null, site: null, q: "" };

describe("order", () => {
  it("is priority, then time left, then id", () => {
    const sorted = [task("d", "routine", -9), task("b", "urgent", 5), task("c", "urgent", 2), task("a", "emergency", 50), task("aa", "urgent", 5)].sort(order);
    expect(sorted.map((one) => one.id)).toEqual(["a", "c", "aa", "b", "d"]);
  });
});

describe("an untouched list", () => {
  it("takes a new task in at its place", () => {
    const list = apply(rows(task("a", "urgent", 5), task("b", "routine", 5)), task("c", "urgent", 9), false, any);
    expect(ids(list)).toEqual(["a", "c", "b"]);
    expect(list.waiting.size).toBe(0);
  });
  it("closes a row that has left", () => {
    expect(ids(apply(rows(task("a", "urgent", 5), task("b", "routine", 5)), { id: "a", gone: true }, false, any))).toEqual(["b"]);
  });
  it("moves a row whose priority was raised", () => {
    expect(ids(apply(rows(task("a", "urgent", 5), task("b", "routine", 5)), task("b", "emergency", 5, { version: 2 }), false, any))).toEqual(["b", "a"]);
  });
});

describe("a list with a hand in it", () => {
  const before = rows(task("a", "urgent", 5), task("b", "routine", 5));
  it("lets a new task wait, and N lets it in", () => {
    const list = apply(before, task("c", "emergency", 1), true, any);
    expect(ids(list)).toEqual(["a", "b"]);
    expect([...list.waiting.keys()]).toEqual(["c"]);
    expect(ids(settle(list))).toEqual(["c", "a", "b"]);
  });
  it("fades a row that leaves and closes it on the next key", () => {
    const list = apply(before, { id: "a", gone: true }, true, any);
    expect(ids(list)).toEqual(["a", "b"]);
    expect(list.leaving.has("a")).toBe(true);
    expect(ids(closeLeft(list))).toEqual(["b"]);
  });
  it("changes a row in place without moving it", () => {
    const list = apply(before, task("b", "emergency", 0, { version: 2 }), true, any);
    expect(ids(list)).toEqual(["a", "b"]);
    expect(list.shown[1]!.priority).toBe("emergency");
  });
  it("does not go back to an older version", () => {
    const newer = rows(task("a", "urgent", 5, { version: 3 }));
    expect(apply(newer, task("a", "routine", 5, { version: 2 }), true, any)).toBe(newer);
  });
  it("forgets a waiting task that leaves again", () => {
    const list = apply(apply(before, task("c", "urgent", 1), true, any), { id: "c", gone: true }, true, any);
    expect(list.waiting.size).toBe(0);
    expect(list.leaving.size).toBe(0);
  });
  it("keeps a row that came back", () => {
    const list = apply(apply(before, { id: "a", gone: true }, true, any), task("a", "urgent", 5, { version: 2 }), true, any);
    expect(list.leaving.size).toBe(0);
  });
  it("turns a fresh answer into the same quiet changes", () => {
    const list = reconcile(before, [task("z", "emergency", 1), task("b", "routine", 5, { version: 2 })], true, true);
    expect(ids(list)).toEqual(["a", "b"]);
    expect([...list.waiting.keys()]).toEqual(["z"]);
    expect([...list.leaving]).toEqual(["a"]);
  });
  it("does not fade what the answer did not reach", () => {
    const long = rows(task("a", "urgent", 5), task("b", "routine", 5), task("c", "routine", 99));
    expect([...reconcile(long, [task("b", "routine", 5)], true, false).leaving]).toEqual(["a"]);
  });
});

describe("what belongs", () => {
  it("follows tab, priority, site and state", () => {
    const one = task("a", "urgent", 5);
    expect(belongs(one, ALL, "me")).toBe(true);
    expect(belongs(one, { ...ALL, tab: "images" }, "me")).toBe(false);
    expect(belongs(one, { ...ALL, priority: "routine" }, "me")).toBe(false);
    expect(belongs(one, { ...ALL, site: "SY" }, "me")).toBe(false);
    expect(belongs({ ...one, state: "COMPLETED" }, ALL, "me")).toBe(false);
    const mine = { ...one, claimed_by: { name: "me", display: "", display_en: "", since: at(0) } };
    expect(belongs(mine, { ...ALL, tab: "mine" }, "me")).toBe(true);
    expect(belongs(mine, { ...ALL, tab: "mine" }, "other")).toBe(false);
  });
  it("is also how a task leaves a tab", () => {
    const list = apply(rows(task("a", "urgent", 5)), task("a", "urgent", 5, { version: 2, state: "COMPLETED" }), false, (one) => belongs(one, ALL, "me"));
    expect(ids(list)).toEqual([]);
  });
});

describe("long lists", () => {
  it("append without doubles", () => {
    expect(ids(append(rows(task("a", "urgent", 5)), [task("a", "urgent", 5), task("b", "routine", 5)]))).toEqual(["a", "b"]);
  });
  it("draw only what is in view", () => {
    expect(inView(0, 720, 36, 10_000)).toEqual([0, 26]);
    expect(inView(36_000, 720, 36, 10_000)).toEqual([994, 1026]);
    expect(inView(0, 720, 36, 3)).toEqual([0, 3]);
  });
});
