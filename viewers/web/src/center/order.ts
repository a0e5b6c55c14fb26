// In which order do the day's studies stand, and how do they stay where they are?
import type { CenterState, CenterStudy } from "../lib/api";

// What wants the doctor's hand comes first; what is finished comes last.
const RANK: Record<CenterState, number> = {
  critical: 0, please_repeat: 1, report_ready: 2, opened: 3, reading: 4, waiting: 5, receiving: 6, confirmed: 7,
};

function rank(study: CenterStudy): number {
  const state = study.report?.state;
  const recalled = state === "withdrawn" || state === "replaced" || study.report?.replaced_by;
  return recalled ? 1 : RANK[study.state];
}

/** By what wants doing, then the newest first. */
export function ordered(studies: readonly CenterStudy[]): CenterStudy[] {
  return [...studies].sort((a, b) => rank(a) - rank(b) || b.received_at.localeCompare(a.received_at) || a.study_id.localeCompare(b.study_id));
}

export interface Arranged {
  shown: CenterStudy[];
  /** New ones that wait until nobody's hand is in the list. */
  behind: CenterStudy[];
}

/**
 * Lay fresh data over the rows on the screen without moving one of them.
 * New studies go on top; while `held` (pointer or focus in the list) they wait, and a row that left stays.
 */
export function arrange(previous: readonly CenterStudy[], fresh: readonly CenterStudy[], held: boolean): Arranged {
  if (previous.length === 0) return { shown: ordered(fresh), behind: [] };
  const byId = new Map(fresh.map((study) => [study.study_id, study]));
  const known = new Set(previous.map((study) => study.study_id));
  const stayed = previous.flatMap((study) => byId.get(study.study_id) ?? (held ? [study] : []));
  const came = ordered(fresh.filter((study) => !known.has(study.study_id)));
  return held ? { shown: stayed, behind: came } : { shown: [...came, ...stayed], behind: [] };
}

/** How many still wait for their report. */
export const waiting = (studies: readonly CenterStudy[]): number =>
  studies.filter((study) => study.state === "receiving" || study.state === "waiting" || study.state === "reading").length;

/** The calendar day `days` later than "YYYY-MM-DD", without a time zone's help. */
export function otherDay(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}
