// Does nothing pass as a read-back that was not read back?
import { describe, expect, it } from "vitest";
import { ApiError } from "../lib/api";
import { complete, lastOf, typed, unanswered, wrongPart } from "./readback";

describe("complete", () => {
  const all = { characters: ["0", "9", "3", "1"], finding: "下壁心肌梗死", patientIs: "here" as const };
  it("starts with nothing chosen", () => expect(complete(unanswered("ZY-20931"))).toBeNull());
  it("wants all three answers", () => {
    expect(complete(all)).toEqual({ last_four: "0931", finding: "下壁心肌梗死", patient_is: "here" });
    expect(complete({ ...all, characters: ["0", "9", "", "1"] })).toBeNull();
    expect(complete({ ...all, finding: null })).toBeNull();
    expect(complete({ ...all, patientIs: null })).toBeNull();
  });
  it("asks for no characters of an id that does not exist", () => {
    expect(complete({ ...all, characters: unanswered(null).characters })?.last_four).toBe("");
  });
});

it("reads back letters and figures only, and no more than the id has", () => {
  expect(lastOf("64040219681103212X")).toBe("212X");
  expect(lastOf("ZY-20 93-1")).toBe("0931");
  expect(unanswered("P-7").characters).toHaveLength(2);
});

describe("typed", () => {
  const none = unanswered("ZY-20931").characters;
  it("moves on with each sign", () => expect(typed(none, 0, "4")).toEqual({ characters: ["4", "", "", ""], next: 1 }));
  it("spreads what is pasted and stops at the end", () => expect(typed(none, 0, " 09-31 7")).toEqual({ characters: ["0", "9", "3", "1"], next: 3 }));
  it("takes the letter of a resident id and full-width figures", () => expect(typed(none, 2, "２x")).toEqual({ characters: ["", "", "2", "X"], next: 3 }));
  it("empties a box and stays", () => expect(typed(["4", "1", "", ""], 1, "")).toEqual({ characters: ["4", "", "", ""], next: 1 }));
  it("refuses anything else", () => expect(typed(none, 0, "。")).toEqual({ characters: none, next: 0 }));
});

it("says which answer was wrong, and only then", () => {
  expect(wrongPart(new ApiError(409, "read_back_wrong", "", { field: "finding" }))).toBe("finding");
  expect(wrongPart(new ApiError(409, "read_back_wrong", "", { field: "?" }))).toBeNull();
  expect(wrongPart(new ApiError(500, "x", "", { field: "finding" }))).toBeNull();
});
