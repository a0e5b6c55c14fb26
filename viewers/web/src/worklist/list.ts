// In which order do tasks stand, and what may move while somebody's hand is in the list?
import type { GoneTask, Priority, Tab, Task } from "../lib/api";

export interface Filter {
  tab: Tab;
  priority: Priority | null;
  site: string | null;
  /** Searched by the server (it knows pinyin initials), never here. */
  q: string;
}

/** What stands in the list, and what waits to come in or to close. */
export interface Rows {
  readonly shown: readonly Task[];
  /** Came while a hand was in the list: behind "+2 new". */
  readonly waiting: ReadonlyMap<string, Task>;
  /** Left while a hand was in the list: faded in place until the next key. */
  readonly leaving: ReadonlySet<string>;
}

export const NO_ROWS: Rows = { shown: [], waiting: new Map(), leaving: new Set() };

const RANK: Record<Priority, number> = { emergency: 0, urgent: 1, routine: 2 };

/** Priority, then time left, then id so that equals never swap. */
export function order(a: Task, b: Task): number {
  return RANK[a.priority] - RANK[b.priority] || Date.parse(a.due_at) - Date.parse(b.due_at) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

const isGone = (told: Task | GoneTask): told is GoneTask => "gone" in told;

/** Whether a task belongs into the list that is filtered like this, for this person. */
export function belongs(task: Task, filter: Filter, me: string): boolean {
  if (task.state !== "OPEN" && task.state !== "CLAIMED") return false;
  if (filter.tab === "mine" && task.claimed_by?.name !== me) return false;
  if ((filter.tab === "ecg" || filter.tab === "images") && task.specialty !== filter.tab) return false;
  if (filter.priority !== null && task.priority !== filter.priority) return false;
  return filter.site === null || task.site.key === filter.site;
}

function without<T>(set: ReadonlySet<T>, value: T): ReadonlySet<T> {
  if (!set.has(value)) return set;
  const rest = new Set(set);
  rest.delete(value);
  return rest;
}

/** Let in what waits, close what has left, sort. */
export function settle(rows: Rows): Rows {
  if (rows.waiting.size === 0 && rows.leaving.size === 0) {
    const sorted = rows.shown.every((task, i) => i === 0 || order(rows.shown[i - 1]!, task) <= 0);
    if (sorted) return rows;
  }
  const stay = rows.shown.filter((task) => !rows.leaving.has(task.id));
  return { shown: [...stay, ...rows.waiting.values()].sort(order), waiting: new Map(), leaving: new Set() };
}

/** Close the faded rows only (the next key does this; new rows still wait). */
export function closeLeft(rows: Rows): Rows {
  if (rows.leaving.size === 0) return rows;
  return { ...rows, shown: rows.shown.filter((task) => !rows.leaving.has(task.id)), leaving: new Set() };
}

function leave(rows: Rows, id: string, held: boolean): Rows {
  const waiting = new Map(rows.waiting);
  waiting.delete(id);
  if (!rows.shown.some((task) => task.id === id)) return { ...rows, waiting };
  if (held) return { ...rows, waiting, leaving: new Set([...rows.leaving, id]) };
  return { shown: rows.shown.filter((task) => task.id !== id), waiting, leaving: without(rows.leaving, id) };
}

/**
 * The list after one event of the live stream. `held`: a pointer or a moved selection is in the list, so no row may move.
 * `fits`: whether the task belongs into the list as filtered.
 */
export function apply(rows: Rows, told: Task | GoneTask, held: boolean, fits: (task: Task) => boolean): Rows {
  if (isGone(told) || !fits(told)) return leave(rows, told.id, held);
  const at = rows.shown.findIndex((task) => task.id === told.id);
  if (at >= 0) {
    // Events may overtake the answer to a question: never go back to an older version.
    if (rows.shown[at]!.version > told.version) return rows;
    const shown = rows.shown.map((task, i) => (i === at ? told : task));
    const next = { ...rows, shown, leaving: without(rows.leaving, told.id) };
    return held ? next : settle(next);
  }
  const next = { ...rows, waiting: new Map(rows.waiting).set(told.id, told) };
  return held ? next : settle(next);
}

/**
 * The list after the server was asked again. While held, it becomes the same set of changes as if each had come alone.
 * `whole`: the answer is the whole list, so what is not in it has left.
 */
export function reconcile(rows: Rows, answer: readonly Task[], held: boolean, whole: boolean): Rows {
  const once = [...new Map(answer.map((task) => [task.id, task])).values()];
  if (!held) return { shown: once.sort(order), waiting: new Map(), leaving: new Set() };
  const there = new Set(answer.map((task) => task.id));
  const last = answer[answer.length - 1];
  let next = rows;
  for (const task of answer) next = apply(next, task, true, () => true);
  for (const task of [...rows.shown, ...rows.waiting.values()]) {
    const covered = whole || (last !== undefined && order(task, last) <= 0);
    if (covered && !there.has(task.id)) next = leave(next, task.id, true);
  }
  return next;
}

/** Add the following page; tasks that came by the stream meanwhile are not doubled. */
export function append(rows: Rows, page: readonly Task[]): Rows {
  const known = new Set([...rows.shown.map((task) => task.id), ...rows.waiting.keys()]);
  return { ...rows, shown: [...rows.shown, ...page.filter((task) => !known.has(task.id))] };
}

/** The rows a window of the list must draw: first and one past the last, with some to spare on both sides. */
export function inView(top: number, height: number, rowHeight: number, total: number, spare = 6): [from: number, to: number] {
  const from = Math.max(0, Math.floor(top / rowHeight) - spare);
  return [Math.min(from, total), Math.min(total, Math.ceil((top + height) / rowHeight) + spare)];
}
