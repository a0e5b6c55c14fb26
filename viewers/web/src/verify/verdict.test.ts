// Is a file called genuine only when its bytes were compared?
import { describe, expect, it } from "vitest";
import type { Verification } from "../lib/api";
import { fileProblem, MAX_BYTES, numberFrom, shortDigest, verdict } from "./verdict";

const value: Verification = {
  state: "genuine", kind: "ECG", hospital: "原州区人民医院", center: "张易镇中心卫生院", signed_by: "周敏", licence_number: "1", signed_at: "2026-11-23T06:00:00Z", version: 1,
  patient_masked: "王**", replaced_by: null,
};

describe("verdict", () => {
  it("a number alone is on record, not genuine", () => {
    expect(verdict({ of: "number", value })).toMatchObject({ state: "genuine", tone: "ok", head: "在此签发，现行有效" });
    expect(verdict({ of: "file", value: { ...value, matches: true, why: "" } }).head).toBe("真实，现行有效");
  });
  it("a changed file is not signed here, whatever the report's state", () => {
    for (const state of ["genuine", "replaced", "withdrawn", "unknown"] as const)
      expect(verdict({ of: "file", value: { ...value, state, matches: false, why: "" } })).toMatchObject({ state: "unknown", tone: "no" });
  });
  it("a recalled report keeps an amber head", () => {
    expect(verdict({ of: "file", value: { ...value, state: "replaced", matches: true, why: "" } })).toMatchObject({ state: "replaced", tone: "old" });
    expect(verdict({ of: "number", value: { ...value, state: "withdrawn" } })).toMatchObject({ state: "withdrawn", tone: "old" });
  });
});

it("refuses what cannot be a report before it is sent", () => {
  const pdf = new TextEncoder().encode("%PDF-1.7");
  expect(fileProblem({ size: 900 }, pdf)).toBeNull();
  expect(fileProblem({ size: MAX_BYTES + 1 }, pdf)).toBe("too_big");
  expect(fileProblem({ size: 0 }, new Uint8Array())).toBe("empty");
  expect(fileProblem({ size: 900 }, new Uint8Array([0xff, 0xd8]))).toBe("not_pdf");
});

it("takes the number out of an address", () => {
  expect(numberFrom(" https://reports.example/verify/aB3-x/?s=1 ")).toBe("aB3-x");
  expect(numberFrom("aB3-x")).toBe("aB3-x");
  expect(numberFrom("  ")).toBe("");
});

it("shortens a digest", () => expect(shortDigest(new Uint8Array([0x9f, 0x2c, 0x41, 0xd0, 0, 0x7b, 0xe3]))).toBe("9f2c 41d0 … 7be3"));
