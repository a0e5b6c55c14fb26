// Which key press counts, in which of the two layers of keys?
import type { Words } from "./i18n";

/** One binding. `code` is `KeyboardEvent.code`; outside text an input method may report any `key`. */
export interface Key {
  code: string | readonly string[];
  shift?: boolean;
  ctrl?: boolean;
  /** Hands in text: only Esc, F6, F8 and Ctrl+Enter may set this. */
  inText?: boolean;
  /** Follow a held key (scrolling only). */
  repeat?: boolean;
  /** Works before the page is painted (leaving, help). Everything else waits. */
  early?: boolean;
  run: (event: KeyboardEvent) => void;
  /** As printed on the key: "↑ ↓", "⇧L". Bindings without it are not listed in the help. */
  shown?: string;
  says?: Words;
}

export interface Scope {
  keys: () => readonly Key[];
  /** False until everything the person acts on is painted. Default: painted. */
  painted?: () => boolean;
  /** Nothing below hears anything while this is open (help, lock). */
  modal?: boolean;
  /** Heading in the help. */
  title?: Words;
}

/** What the decision needs to know of an event: easy to make up in a test. */
export interface Press {
  code: string;
  key: string;
  shift: boolean;
  ctrl: boolean;
  alt: boolean;
  meta: boolean;
  repeat: boolean;
  composing: boolean;
  layer: "picture" | "text";
  /** On a button or link, Enter and Space belong to it. */
  onControl: boolean;
}

const TEXT_TYPES = new Set(["text", "search", "password", "email", "number", "tel", "url", "date", "time", ""]);

/** Is the event's target something one writes in? */
export function layerOf(target: EventTarget | null): "picture" | "text" {
  if (!(target instanceof Element)) return "picture";
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return "text";
  if (target instanceof HTMLInputElement) return TEXT_TYPES.has(target.type) ? "text" : "picture";
  return target.closest("[contenteditable='true'], [contenteditable='']") === null ? "picture" : "text";
}

const isControl = (target: EventTarget | null): boolean =>
  target instanceof Element && target.closest("button, a[href], summary, [role='button'], [role='radio'], [role='tab']") !== null;

export function pressOf(event: KeyboardEvent): Press {
  return {
    code: event.code,
    key: event.key,
    shift: event.shiftKey,
    ctrl: event.ctrlKey,
    alt: event.altKey,
    meta: event.metaKey,
    repeat: event.repeat,
    composing: event.isComposing || event.keyCode === 229,
    layer: layerOf(event.target),
    onControl: isControl(event.target),
  };
}

/** Does this press mean this binding? */
export function means(press: Press, key: Key): boolean {
  const codes = typeof key.code === "string" ? [key.code] : key.code;
  if (!codes.includes(press.code)) return false;
  if (press.alt || press.meta) return false;
  return press.shift === (key.shift ?? false) && press.ctrl === (key.ctrl ?? false);
}

/** Does it count, given the layer, the repeat and whether all is painted? */
export function counts(press: Press, key: Key, painted: boolean, heldTooLong: boolean): boolean {
  if (press.layer === "text" && (press.composing || key.inText !== true)) return false;
  if (press.repeat && key.repeat !== true) return false;
  if (key.early !== true && (!painted || heldTooLong)) return false;
  const native = press.code === "Enter" || press.code === "NumpadEnter" || press.code === "Space";
  return !(press.onControl && native && !press.ctrl);
}

const scopes: Scope[] = [];
// Codes pressed while the page on top was not yet painted: what follows of them was not meant for what is seen now.
const heldBefore = new Set<string>();
let listening = false;

/** A fresh press of a key forgets that it was once held too early. */
export function hear(press: Press): Key | null {
  if (!press.repeat) heldBefore.delete(press.code);
  for (let i = scopes.length - 1; i >= 0; i--) {
    const scope = scopes[i]!;
    const painted = scope.painted?.() ?? true;
    if (!painted) heldBefore.add(press.code);
    const found = scope.keys().find((key) => means(press, key) && counts(press, key, painted, heldBefore.has(press.code)));
    if (found !== undefined) return found;
    // A press that came too early for this page must not fall through to another meaning below.
    if (scope.modal === true) return null;
  }
  return null;
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented) return;
  const key = hear(pressOf(event));
  if (key === null) return;
  event.preventDefault();
  key.run(event);
}

function listen(): void {
  if (listening) return;
  listening = true;
  addEventListener("keydown", onKeyDown);
  addEventListener("keyup", (event) => heldBefore.delete(event.code));
  addEventListener("blur", () => heldBefore.clear());
}

/** Open a scope of keys on top of the others; call the answer to close it. Use as `$effect(() => openKeys({...}))`. */
export function openKeys(scope: Scope): () => void {
  if (typeof window !== "undefined") listen();
  scopes.push(scope);
  return () => {
    const i = scopes.indexOf(scope);
    if (i >= 0) scopes.splice(i, 1);
  };
}

/** All listed keys from the top scope down, for the help; scopes of one title stand together. */
export function listedKeys(): { title: Words | null; keys: Key[] }[] {
  const groups: { title: Words | null; keys: Key[] }[] = [];
  for (const scope of [...scopes].reverse()) {
    const keys = scope.keys().filter((key) => key.shown !== undefined && key.says !== undefined);
    const title = scope.title ?? null;
    const there = groups.find((group) => group.title?.[0] === title?.[0]);
    if (there !== undefined) there.keys.push(...keys);
    else if (keys.length > 0) groups.push({ title, keys });
  }
  return groups;
}

const REACHED = "[data-first], [tabindex='0'], textarea, input, button:not(:disabled), a[href], select";

/** F6 and ⇧F6: move the focus to the next region (elements marked data-region) that has something to focus. */
export function nextRegion(backwards = false): void {
  const regions = [...document.querySelectorAll<HTMLElement>("[data-region]")];
  const here = regions.findIndex((region) => region.contains(document.activeElement));
  const step = backwards ? -1 : 1;
  const start = here === -1 && backwards ? regions.length : here;
  for (let n = 1; n <= regions.length; n++) {
    const region = regions[(start + step * n + regions.length * 2) % regions.length]!;
    if (region.getClientRects().length === 0) continue;
    // What was marked as first goes before what merely comes first.
    const target = region.matches("[tabindex='0']") ? region : (region.querySelector<HTMLElement>("[data-first]") ?? region.querySelector<HTMLElement>(REACHED));
    if (target === null || target.getClientRects().length === 0) continue;
    target.focus();
    return;
  }
}
