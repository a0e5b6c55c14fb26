// How does the case that a claim just answered reach the reading page without asking twice?
import type { Case } from "./api";

let kept: { case: Case; at: number } | null = null;
/** Older than this, the reading page had better ask again. */
const FRESH_MS = 10_000;

/** Keep the answer of a claim for the page that opens next. */
export function keepCase(opened: Case): void {
  kept = { case: opened, at: Date.now() };
}

/** The kept case of this task, once, while it is fresh; null otherwise. */
export function takeCase(taskId: string): Case | null {
  const found = kept;
  kept = null;
  if (found === null || found.case.task.id !== taskId || Date.now() - found.at > FRESH_MS) return null;
  return found.case;
}
