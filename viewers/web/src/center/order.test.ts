// Do rows stay where they are while the day goes on?
import { describe, expect, it } from "vitest";
import type { CenterState, CenterStudy } from "../lib/api";
import { arrange, ordered, otherDay, waiting } from "./order";

function study(id: string, state: CenterState, received = "2026-11-23T06:00:00Z", more: Partial<CenterStudy> = {}): CenterStudy {
  return {
    study_id: id, task_id: null, patient: { name: "甲", name_latin: null, id: "1", sex: null, birth_date: null, age: null }, kind: "ECG", description: "",
    acquired_at: null, received_at: received, step: 1, state, reader: null, due_at: null, result: null, report: null, delivery: null, repeat: null, marks: [], text_repair: null, ...more,
  };
}
const ids = (studies: readonly CenterStudy[]): string[] => studies.map((one) => one.study_id);

describe("ordered", () => {
  it("puts what wants doing first, then the newest", () => {
    const day = [study("done", "confirmed"), study("old", "waiting", "2026-11-23T01:00:00Z"), study("new", "waiting", "2026-11-23T02:00:00Z"), study("ready", "report_ready"), study("red", "critical"), study("again", "please_repeat")];
    expect(ids(ordered(day))).toEqual(["red", "again", "ready", "new", "old", "done"]);
  });
  it("puts a recalled report among what wants doing", () => {
    const report = { id: "r", version: 1, state: "withdrawn" as const, signed_at: "", impression: "", study_newer: false, replaced_by: null };
    expect(ids(ordered([study("ready", "report_ready"), study("gone", "confirmed", undefined, { report })]))).toEqual(["gone", "ready"]);
  });
});

describe("arrange", () => {
  const before = [study("a", "waiting"), study("b", "reading"), study("c", "report_ready")];
  it("keeps every row in its place when states change", () => {
    const next = arrange(before, [study("c", "opened"), study("a", "critical"), study("b", "report_ready")], false);
    expect(ids(next.shown)).toEqual(["a", "b", "c"]);
    expect(next.shown.map((row) => row.state)).toEqual(["critical", "report_ready", "opened"]);
  });
  it("lets new rows wait while a hand is in the list", () => {
    const fresh = [...before, study("new", "receiving")];
    expect(ids(arrange(before, fresh, true).shown)).toEqual(["a", "b", "c"]);
    expect(ids(arrange(before, fresh, true).behind)).toEqual(["new"]);
    expect(ids(arrange(before, fresh, false).shown)).toEqual(["new", "a", "b", "c"]);
  });
  it("keeps a row that left until the hand is gone", () => {
    expect(ids(arrange(before, before.slice(1), true).shown)).toEqual(["a", "b", "c"]);
    expect(ids(arrange(before, before.slice(1), false).shown)).toEqual(["b", "c"]);
  });
});

it("counts who waits for a report", () => {
  expect(waiting([study("a", "receiving"), study("b", "reading"), study("c", "report_ready"), study("d", "please_repeat")])).toBe(2);
});

it("walks over months and leap days", () => {
  expect(otherDay("2026-12-31", 1)).toBe("2027-01-01");
  expect(otherDay("2028-03-01", -1)).toBe("2028-02-29");
});
