// Which case was open before this one, in this tab?

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
