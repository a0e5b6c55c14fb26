// Which of one's own reports may be taken back, withdrawn or replaced, and which are found?
import { describe, expect, it } from "vitest";
import type { ReportRow } from "../lib/api";
import { canRecall, graceSeconds, inPart, matches, receipt, sorted, stateWords } from "./rows";

const AT = Date.parse("2026-11-23T06:00:05Z");
const row = (more: Partial<ReportRow> = {}): ReportRow => ({
  id: "r", version: 1, task_id: "t", study_id: "s", patient: { name: "杨淑芬", name_latin: "Yang Shufen", id: "ZY-20922", sex: "F", birth_date: null, age: "58Y" },
  kind: "ECG", study_description: "静息 12 导联", site: { key: "zy", name: "张易镇中心卫生院", name_en: "Zhangyi" }, result: "normal", state: "final",
  signed_at: "2026-11-23T06:00:00Z", effective_at: "2026-11-23T06:00:20Z", author: "周敏", impression: "", opened_at: null, acknowledged_at: null, study_newer: false, ...more,
});

describe("grace", () => {
  it("runs from the server's instant", () => {
    expect(graceSeconds(row({ state: "signed" }), AT)).toBe(15);
    expect(graceSeconds(row({ state: "signed" }), AT + 15_000)).toBe(0);
    expect(graceSeconds(row(), AT)).toBe(0);
  });
  it("while it runs one takes back; after it one withdraws", () => {
    expect(canRecall(row({ state: "signed" }), AT)).toBe(false);
    expect(canRecall(row({ state: "signed" }), AT + 15_000)).toBe(true);
    expect(canRecall(row({ state: "withdrawn" }), AT)).toBe(false);
    expect(stateWords(row({ state: "signed" }), AT).text).toContain("15");
  });
});

it("finds by both scripts, initials, id and center", () => {
  for (const typed of ["杨淑", "yang", "ysf", "20922", "张易", ""]) expect(matches(row(), typed)).toBe(true);
  expect(matches(row(), "王")).toBe(false);
});

it("parts the list", () => {
  expect(inPart(row(), "unopened")).toBe(true);
  expect(inPart(row({ opened_at: "2026-11-23T06:01:00Z" }), "unopened")).toBe(false);
  expect(inPart(row({ state: "replaced" }), "recalled")).toBe(true);
  expect(inPart(row(), "recalled")).toBe(false);
});

it("says what the center did, the last step first", () => {
  expect(receipt(row(), AT).text).toBe("还没有打开");
  expect(receipt(row({ opened_at: "2026-11-23T06:01:00Z", acknowledged_at: "2026-11-23T06:02:00Z" }), AT)).toMatchObject({ tone: "ok" });
});

it("stands newest first", () => {
  expect(sorted([row({ id: "a" }), row({ id: "b", signed_at: "2026-11-23T07:00:00Z" })]).map((one) => one.id)).toEqual(["b", "a"]);
});
