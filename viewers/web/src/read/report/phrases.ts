// Which phrase does the reader mean by a few letters?

import { type Kind, type Phrase, type Phrases, send } from "../../lib/api";
import type { Lang } from "../../lib/i18n";

/** The phrases of a kind, those for this study's part of the body first. */
export async function phrasesFor(kind: Kind, studyId: string): Promise<Phrases> {
  const answer = await send(`/api/phrases?${new URLSearchParams({ kind, study_id: studyId })}`);
  return (await answer.json()) as Phrases;
}

/** Stands in a phrase where the reader has to fill in something. */
export const BLANK = "__";

/** Best first, at most `most`. The letters may be the code, pinyin initials, Chinese or English. */
export function search(phrases: readonly Phrase[], typed: string, most: number): Phrase[] {
  const asked = typed.trim().toLowerCase();
  if (asked === "") return [...phrases].sort(favouriteFirst).slice(0, most);
  return phrases
    .map((phrase) => ({ phrase, rank: rankOf(phrase, asked) }))
    .filter(({ rank }) => rank < NONE)
    .sort((a, b) => a.rank - b.rank || favouriteFirst(a.phrase, b.phrase))
    .slice(0, most)
    .map(({ phrase }) => phrase);
}

const NONE = 9;
const favouriteFirst = (a: Phrase, b: Phrase): number => (a.key ?? 99) - (b.key ?? 99) || a.code.localeCompare(b.code);

function rankOf(phrase: Phrase, asked: string): number {
  const code = phrase.code.toLowerCase();
  const pinyin = phrase.pinyin.toLowerCase();
  const english = phrase.en.toLowerCase();
  if (code === asked) return 0;
  if (code.startsWith(asked)) return 1;
  if (pinyin.startsWith(asked)) return 2;
  if (phrase.zh.toLowerCase().startsWith(asked)) return 3;
  if (english.startsWith(asked)) return 4;
  if (asked.split(/\s+/).every((word) => english.split(/[^a-z0-9]+/).some((one) => one.startsWith(word)))) return 5;
  if (phrase.zh.toLowerCase().includes(asked)) return 6;
  return pinyin.includes(asked) ? 7 : NONE;
}

export const wordsOf = (phrase: Phrase, lang: Lang): string => (lang === "en" ? phrase.en : phrase.zh);

/** The text with a phrase on a line of its own at its end. A phrase that already is a line of it is not said twice. */
export function withPhrase(text: string, phrase: string): string {
  if (text.split("\n").some((line) => line.trim() === phrase.trim())) return text;
  const before = text.replace(/\s+$/, "");
  return before === "" ? phrase : `${before}\n${phrase}`;
}

/** The text without its last line, when that line is one of the phrases; else as it was. */
export function withoutLastPhrase(text: string, phrases: readonly Phrase[]): string {
  const lines = text.replace(/\s+$/, "").split("\n");
  const last = lines[lines.length - 1]?.trim() ?? "";
  if (!phrases.some((phrase) => phrase.zh.trim() === last || phrase.en.trim() === last)) return text;
  return lines.slice(0, -1).join("\n");
}
