// Which language does this workstation speak, and what does a pair of words say in it?
import { createSubscriber } from "svelte/reactivity";

export type Lang = "zh" | "en";

const KEPT = "teleread.lang";
const listeners = new Set<() => void>();
const watched = createSubscriber((update) => {
  listeners.add(update);
  return () => listeners.delete(update);
});

function first(): Lang {
  if (typeof localStorage === "undefined") return "zh";
  const kept = localStorage.getItem(KEPT);
  if (kept === "zh" || kept === "en") return kept;
  return navigator.language.toLowerCase().startsWith("en") ? "en" : "zh";
}

let current: Lang = first();

function mark(): void {
  // Without "zh-CN" a browser may draw Han glyphs in their Japanese shape.
  if (typeof document !== "undefined") document.documentElement.lang = current === "en" ? "en" : "zh-CN";
}
mark();

/** The language in use. Reactive: templates and effects that read it follow a switch. */
export function lang(): Lang {
  watched();
  return current;
}

/** Switch the language and keep it for this workstation. */
export function speak(next: Lang): void {
  current = next;
  localStorage.setItem(KEPT, next);
  mark();
  for (const update of listeners) update();
}

/** The Chinese or the English of one phrase. Both must say the same. */
export function t(zh: string, en: string): string {
  return lang() === "en" ? en : zh;
}

/** A pair handed about as a value. */
export type Words = readonly [zh: string, en: string];
export const say = (words: Words): string => t(words[0], words[1]);

/** The name of a person or site in the language in use; falls back to the one that exists. */
export const named = (name: string, english: string | null | undefined): string => t(name, english || name);

/** Join parts with the middle dot, leaving out what is not known. */
export const dotted = (...parts: (string | null | undefined | false)[]): string => parts.filter(Boolean).join(" · ");
