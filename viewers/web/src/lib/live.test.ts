// When is the stream silent for too long?
import { describe, expect, it } from "vitest";
import { isSilent, STALE_AFTER_MS } from "./live";

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
