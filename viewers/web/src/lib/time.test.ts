// Is time said as people say it, by the server's clock?
import { afterEach, describe, expect, it } from "vitest";
import { ago, clock, minutesLeft, noteServerTime, serverNow, share, span, urge, when } from "./time";

const T0 = Date.UTC(2026, 10, 23, 6, 32);
const iso = (ms: number): string => new Date(ms).toISOString();
afterEach(() => noteServerTime(iso(Date.now())));

describe("spans", () => {
  it("say minutes, then hours and minutes, then days", () => {
    expect(span(22)).toBe("22 分");
    expect(span(132)).toBe("2 时 12 分");
    expect(span(180)).toBe("3 时 00 分");
    expect(span(0)).toBe("0 分");
    expect(span(60 * 50)).toBe("2 天 2 时");
  });
  it("never run backwards", () => {
    expect(ago(iso(T0 + 5000), T0)).toBe("不到 1 分");
    expect(ago(iso(T0 - 7 * 60_000), T0)).toBe("7 分");
  });
});

describe("time left", () => {
  it("is whole minutes, and late from the first second", () => {
    expect(minutesLeft(iso(T0 + 22.9 * 60_000), T0)).toBe(22);
    expect(minutesLeft(iso(T0 - 10_000), T0)).toBe(-1);
  });
  it("is calm, at risk below a third, late after", () => {
    expect(urge(iso(T0 + 16 * 60_000), 1800, T0)).toBe("calm");
    expect(urge(iso(T0 + 9 * 60_000), 1800, T0)).toBe("risk");
    expect(urge(iso(T0 - 1), 1800, T0)).toBe("late");
  });
  it("fills the bar with its share", () => {
    expect(share(iso(T0 + 15 * 60_000), 1800, T0)).toBe(0.5);
    expect(share(iso(T0 - 1), 1800, T0)).toBe(0);
    expect(share(iso(T0 + 99 * 60_000), 1800, T0)).toBe(1);
    expect(share(iso(T0), 0, T0)).toBe(0);
  });
});

describe("the server's clock", () => {
  it("rules, however wrong the one of this PC is", () => {
    const local = Date.now();
    noteServerTime(iso(local + 300_000), local);
    expect(serverNow() - Date.now()).toBeGreaterThan(299_000);
  });
  it("is left alone by nonsense", () => {
    noteServerTime("soon");
    expect(Math.abs(serverNow() - Date.now())).toBeLessThan(1000);
  });
});

describe("instants", () => {
  it("are short for today and longer for before", () => {
    const noon = new Date(2026, 10, 23, 14, 5).getTime();
    expect(clock(noon)).toBe("14:05");
    expect(when(iso(noon), noon + 60_000)).toBe("14:05");
    expect(when(iso(new Date(2026, 10, 22, 9, 7).getTime()), noon)).toBe("11-22 09:07");
    expect(when(iso(new Date(2025, 10, 22, 9, 7).getTime()), noon)).toBe("2025-11-22");
  });
});
