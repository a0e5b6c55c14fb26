// Is the read-back of a critical result whole, and which answer was wrong?
import { isApiError, type ReadBack } from "../lib/api";

export type Part = "last_four" | "finding" | "patient_is";
export const PLACES = 4;

export interface Answers {
  /** The last four characters of the patient's id, one box each. */
  characters: readonly string[];
  finding: string | null;
  patientIs: ReadBack["patient_is"] | null;
}

/** Nothing is preselected. */
export const unanswered = (): Answers => ({ characters: ["", "", "", ""], finding: null, patientIs: null });

/** The answers as they are sent, or null while one is missing. A patient without an id has no four to read back. */
export function complete(answers: Answers, hasId: boolean): ReadBack | null {
  const lastFour = answers.characters.join("");
  if (hasId && answers.characters.some((character) => character === "")) return null;
  if (answers.finding === null || answers.patientIs === null) return null;
  return { last_four: lastFour, finding: answers.finding, patient_is: answers.patientIs };
}

/** Put typed or pasted text into the boxes from `from` on; answers the boxes and the next one to stand in. */
export function typed(characters: readonly string[], from: number, text: string): { characters: string[]; next: number } {
  const signs = [...text.normalize("NFKC").toUpperCase()].filter((sign) => /[0-9A-Z]/.test(sign));
  const next = [...characters];
  signs.slice(0, PLACES - from).forEach((sign, i) => (next[from + i] = sign));
  if (signs.length === 0) next[from] = "";
  return { characters: next, next: Math.min(PLACES - 1, from + Math.max(signs.length, 0)) };
}

/** The part the server found wrong, null for any other failure. */
export function wrongPart(error: unknown): Part | null {
  if (!isApiError(error, "read_back_wrong")) return null;
  const field = error.details.field;
  return field === "last_four" || field === "finding" || field === "patient_is" ? field : null;
}
