// In which order do rows stand while somebody points at them?

/** Rows to show and rows that wait. While `held`, what is shown keeps its place, in its newest form; what is new waits. */
export function held<T extends { id: string | number }>(shown: readonly T[], fresh: readonly T[], hold: boolean): { shown: T[]; waiting: T[] } {
  if (!hold) return { shown: [...fresh], waiting: [] };
  const newest = new Map(fresh.map((row) => [row.id, row]));
  const kept = shown.flatMap((row) => newest.get(row.id) ?? []);
  const there = new Set(kept.map((row) => row.id));
  return { shown: kept, waiting: fresh.filter((row) => !there.has(row.id)) };
}
