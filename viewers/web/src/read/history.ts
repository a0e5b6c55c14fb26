// Which case was open before this one, in this tab, and which one was just claimed?
import type { Case } from "../lib/api";

const KEPT = "teleread.cases";
const MOST = 20;

function visited(): string[] {
  try {
    const list = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]") as unknown;
    return Array.isArray(list) ? list.map(String) : [];
  } catch {
    return [];
  }
}

/** Note that this case is open now. Task ids only, never a name. */
export function visit(taskId: string): void {
  const list = visited();
  if (!list.includes(taskId)) sessionStorage.setItem(KEPT, JSON.stringify([...list, taskId].slice(-MOST)));
}

export function previousCase(taskId: string): string | null {
  const list = visited();
  const at = list.indexOf(taskId);
  return at > 0 ? (list[at - 1] ?? null) : null;
}

let claimed: Case | null = null;

/** A claim answers with the whole case: its page need not ask for it again. */
export function handOver(opened: Case): void {
  claimed = opened;
}

/** The case that was just claimed, once, and only for its own task. */
export function takeOver(taskId: string): Case | null {
  const opened = claimed;
  claimed = null;
  return opened?.task.id === taskId ? opened : null;
}

/** Those that may come next, in the list's order, beginning after the case that is open; from the top when it is gone. */
export function following<T extends { id: string; state: string; mine: boolean }>(tasks: readonly T[], openId: string): T[] {
  const at = tasks.findIndex((task) => task.id === openId);
  return [...tasks.slice(at + 1), ...tasks.slice(0, Math.max(0, at))].filter((task) => task.id !== openId && (task.state === "OPEN" || task.mine));
}
