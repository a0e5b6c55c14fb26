// Is the read-back of a critical result whole, and which answer was wrong?
import { isApiError, type ReadBack } from "../lib/api";

export type Part = "last_four" | "finding" | "patient_is";
const PLACES = 4;
const SIGN = /[\p{L}\p{N}]/u;

/** The letters and figures at the end of the id that are read back: four, fewer where the id is shorter. */
export const lastOf = (id: string | null): string => [...(id ?? "")].filter((sign) => SIGN.test(sign)).slice(-PLACES).join("");

export interface Answers {
  /** The end of the patient's id, one box each. */
  characters: readonly string[];
  finding: string | null;
  patientIs: ReadBack["patient_is"] | null;
}

/** Nothing is preselected. */
export const unanswered = (id: string | null): Answers => ({ characters: [...lastOf(id)].map(() => ""), finding: null, patientIs: null });

/** The answers as they are sent, or null while one is missing. A patient without an id has nothing of it to read back. */
export function complete(answers: Answers): ReadBack | null {
  if (answers.characters.some((character) => character === "")) return null;
  if (answers.finding === null || answers.patientIs === null) return null;
  return { last_four: answers.characters.join(""), finding: answers.finding, patient_is: answers.patientIs };
}

/** Put typed or pasted text into the boxes from `from` on; answers the boxes and the next one to stand in. */
export function typed(characters: readonly string[], from: number, text: string): { characters: string[]; next: number } {
  const signs = [...text.normalize("NFKC").toUpperCase()].filter((sign) => SIGN.test(sign));
  const next = [...characters];
  signs.slice(0, next.length - from).forEach((sign, i) => (next[from + i] = sign));
  if (signs.length === 0) next[from] = "";
  return { characters: next, next: Math.min(next.length - 1, from + signs.length) };
}

/** The part the server found wrong, null for any other failure. */
export function wrongPart(error: unknown): Part | null {
  if (!isApiError(error, "read_back_wrong")) return null;
  const field = error.details.field;
  return field === "last_four" || field === "finding" || field === "patient_is" ? field : null;
}
