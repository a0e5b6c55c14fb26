// When is the stream silent for too long?
import { describe, expect, it } from "vitest";
import { isSilent, meaning, STALE_AFTER_MS } from "./live";

describe("a locked page", () => {
  it("hears how many critical results wait, and the clock", () => {
    expect(meaning("critical", { open: 1 }, true)).toBe("waiting");
    expect(meaning("clock", {}, true)).toBe("clock");
  });
  it("asks for nothing and takes nothing that is late from the full stream", () => {
    for (const kind of ["opened", "task", "study", "critical", "late", "report"] as const) expect(meaning(kind, {}, true)).toBeNull();
  });
});

describe("a page that is open", () => {
  it("learns from a nameless stream that the server has locked it", () => {
    expect(meaning("critical", { open: 0 }, false)).toBe("waiting");
    expect(meaning("critical", {}, false)).toBe("critical");
  });
});

describe("silence", () => {
  it("begins when two beats were missed", () => {
    expect(isSilent(STALE_AFTER_MS, 0, 0)).toBe(false);
    expect(isSilent(STALE_AFTER_MS + 1, 0, 0)).toBe(true);
  });
  it("begins a few seconds after the line broke, not at once", () => {
    expect(isSilent(101_000, 100_000, 100_500)).toBe(false);
    expect(isSilent(105_000, 100_000, 100_500)).toBe(true);
  });
});
