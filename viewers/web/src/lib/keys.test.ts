// Do keys count only where, when and as often as they should?
import { afterEach, describe, expect, it } from "vitest";
import { hear, means, openKeys, type Key, type Press } from "./keys";

const press = (code: string, more: Partial<Press> = {}): Press => ({
  code, key: "", shift: false, ctrl: false, alt: false, meta: false, repeat: false, composing: false, layer: "picture", onControl: false, ...more,
});
const key = (code: string, more: Partial<Key> = {}): Key => ({ code, run: () => undefined, ...more });
const closers: (() => void)[] = [];
const scope = (keys: Key[], more: { painted?: () => boolean; modal?: boolean } = {}): void => {
  closers.push(openKeys({ keys: () => keys, ...more }));
};
afterEach(() => closers.splice(0).forEach((close) => close()));

describe("the layers", () => {
  const normal = key("KeyN");
  const sign = key("Enter", { ctrl: true, inText: true });
  it("single keys work on the picture and not in text", () => {
    scope([normal]);
    expect(hear(press("KeyN"))).toBe(normal);
    expect(hear(press("KeyN", { layer: "text" }))).toBeNull();
  });
  it("Ctrl+Enter works in both, but not while composing", () => {
    scope([sign]);
    expect(hear(press("Enter", { ctrl: true, layer: "text" }))).toBe(sign);
    expect(hear(press("Enter", { ctrl: true, layer: "text", composing: true }))).toBeNull();
    expect(hear(press("Enter", { layer: "text" }))).toBeNull();
  });
  it("goes by the place of the key, whatever an input method calls it", () => {
    scope([normal]);
    expect(hear(press("KeyN", { key: "Process" }))).toBe(normal);
  });
  it("leaves Enter and Space to the control that has the focus", () => {
    const open = key("Enter");
    scope([open, sign]);
    expect(hear(press("Enter", { onControl: true }))).toBeNull();
    expect(hear(press("Enter", { onControl: true, ctrl: true }))).toBe(sign);
  });
});

describe("modifiers", () => {
  it("must match exactly", () => {
    expect(means(press("KeyL", { shift: true }), key("KeyL", { shift: true }))).toBe(true);
    expect(means(press("KeyL"), key("KeyL", { shift: true }))).toBe(false);
    expect(means(press("KeyL", { shift: true }), key("KeyL"))).toBe(false);
    expect(means(press("KeyL", { ctrl: true }), key("KeyL"))).toBe(false);
    expect(means(press("KeyL", { alt: true }), key("KeyL"))).toBe(false);
    expect(means(press("NumpadEnter"), key("Enter"))).toBe(false);
  });
});

describe("a held key", () => {
  it("counts once, except for scrolling", () => {
    const sign = key("Enter", { ctrl: true });
    const down = key("ArrowDown", { repeat: true });
    scope([sign, down]);
    expect(hear(press("Enter", { ctrl: true, repeat: true }))).toBeNull();
    expect(hear(press("ArrowDown", { repeat: true }))).toBe(down);
  });
  it("pressed before the case was painted does not count afterwards", () => {
    let painted = false;
    const down = key("ArrowDown", { repeat: true });
    scope([down], { painted: () => painted });
    expect(hear(press("ArrowDown"))).toBeNull();
    painted = true;
    expect(hear(press("ArrowDown", { repeat: true }))).toBeNull();
    expect(hear(press("ArrowDown"))).toBe(down);
  });
});

describe("before the page is painted", () => {
  it("only leaving works", () => {
    const sign = key("Enter", { ctrl: true });
    const out = key("Escape", { early: true });
    scope([sign, out], { painted: () => false });
    expect(hear(press("Enter", { ctrl: true }))).toBeNull();
    expect(hear(press("Escape"))).toBe(out);
  });
});

describe("scopes", () => {
  it("the top one answers first, and a modal one alone", () => {
    const below = key("KeyU");
    const above = key("KeyU");
    scope([below, key("KeyN")]);
    scope([above]);
    expect(hear(press("KeyU"))).toBe(above);
    expect(hear(press("KeyN"))).not.toBeNull();
    scope([], { modal: true });
    expect(hear(press("KeyU"))).toBeNull();
  });
});
