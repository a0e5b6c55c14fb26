// Does a center read plain words, never our codes?
import { describe, expect, it } from "vitest";
import type { CenterState, CenterStudy } from "../lib/api";
import { elapsed, headline, saying, studyName } from "./wording";

const AT = Date.parse("2026-11-23T06:30:00Z");
const report = { id: "r", version: 1, state: "final" as const, signed_at: "2026-11-23T06:00:00Z", impression: "", study_newer: false, replaced_by: null };
function study(state: CenterState, more: Partial<CenterStudy> = {}): CenterStudy {
  return {
    study_id: "s", task_id: "t", patient: { name: "甲", name_latin: "Jia", id: "1", sex: "M", birth_date: null, age: "58Y" }, kind: "ECG", description: "静息 12 导联",
    acquired_at: null, received_at: "2026-11-23T06:00:00Z", step: 3, state, reader: null, due_at: null, result: null, report: null, delivery: null, repeat: null, marks: [], text_repair: null, ...more,
  };
}

describe("saying", () => {
  it("never shows a code", () => {
    for (const state of ["receiving", "waiting", "reading", "report_ready", "opened", "confirmed", "please_repeat", "critical"] as const) {
      const says = saying(study(state, { reader: "周敏", due_at: "2026-11-23T06:59:30Z" }), AT);
      expect(says.text).not.toMatch(/[A-Z_]{4,}|null|undefined/);
      expect(says.text).not.toBe("");
    }
  });
  it("tells the time left and the time over", () => {
    expect(saying(study("reading", { reader: "周敏", due_at: "2026-11-23T08:42:00Z" }), AT)).toMatchObject({ text: "周敏医生正在阅片", end: "还剩 2 时 12 分" });
    expect(saying(study("waiting", { due_at: "2026-11-23T06:25:00Z" }), AT).end).toBe("超 5 分");
  });
  it("keeps red for the critical result", () => {
    expect(saying(study("critical", { report }), AT, "2026-11-23T06:26:48Z")).toMatchObject({ tone: "bad", end: "3 分 12 秒" });
    expect(saying(study("please_repeat", { repeat: { reason_code: "electrodes", note: null } }), AT)).toMatchObject({ tone: "risk", text: "请重做：电极接错或脱落" });
  });
  it("warns of a recalled report whatever its state was", () => {
    expect(saying(study("confirmed", { report: { ...report, state: "withdrawn" } }), AT).text).toContain("撤销");
    expect(saying(study("confirmed", { report: { ...report, replaced_by: "r2" } }), AT).text).toContain("替换");
  });
  it("says the reader's own words where the reason has none", () => {
    expect(saying(study("please_repeat", { repeat: { reason_code: "other", note: "请加做右胸导联" } }), AT).text).toBe("请重做：请加做右胸导联");
  });
});

it("names the study as the center does", () => {
  expect(studyName(study("waiting"))).toBe("心电图");
  expect(studyName({ kind: "CT", description: "胸部 CT 平扫" })).toBe("胸部 CT 平扫");
  expect(studyName({ kind: "DX", description: " " })).toBe("X 线");
});

it("counts seconds below an hour", () => {
  expect(elapsed("2026-11-23T06:29:58Z", AT)).toBe("2 秒");
  expect(elapsed("2026-11-23T04:18:00Z", AT)).toBe("2 时 12 分");
  expect(elapsed("2026-11-23T06:31:00Z", AT)).toBe("0 秒");
});

it("makes a headline of the first finding", () => {
  expect(headline("疑似急性下壁心肌梗死。II、III 导联抬高。")).toEqual({ first: "疑似急性下壁心肌梗死", rest: "II、III 导联抬高。" });
  expect(headline("Suspected infarction. ST elevation 1.5 mm.")).toEqual({ first: "Suspected infarction", rest: "ST elevation 1.5 mm." });
  expect(headline("QRS 0.12 s")).toEqual({ first: "QRS 0.12 s", rest: "" });
});
