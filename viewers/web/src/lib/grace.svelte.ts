// Which signature can still be taken back, for how long?
import { api } from "./api";
import { now } from "./time";
import { who } from "./session.svelte";

export interface LastSigned {
  report_id: string;
  task_id: string;
  /** "杨淑芬 心电图": shown in the strip. */
  label: string;
  signed_at: string;
  effective_at: string;
  /** Who signed: another person on this workstation cannot take it back. */
  by: string;
}

const KEPT = "teleread.grace";

class Grace {
  last = $state<LastSigned | null>(kept());
  taking = $state(false);
}

function kept(): LastSigned | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "null") as LastSigned | null;
  } catch {
    return null;
  }
}

export const grace = new Grace();

/** Remember what was just signed (a critical report has no grace: effective_at equals signed_at). */
export function rememberSigned(signed: Omit<LastSigned, "by">): void {
  grace.last = { ...signed, by: who.user?.name ?? "" };
  sessionStorage.setItem(KEPT, JSON.stringify(grace.last));
}

export function forgetSigned(): void {
  grace.last = null;
  sessionStorage.removeItem(KEPT);
}

/** Whole seconds in which the last signature can be taken back; 0 when it cannot. Reactive. */
export function graceLeft(): number {
  const last = grace.last;
  if (last === null || last.by !== who.user?.name) return 0;
  const whole = Date.parse(last.effective_at) - Date.parse(last.signed_at);
  // The two clocks are known to each other to a second at best: never promise more than the whole.
  return Math.max(0, Math.ceil(Math.min(whole, Date.parse(last.effective_at) - now()) / 1000));
}

/** The share of the grace time that is left, 0–1. Reactive. */
export function graceShare(): number {
  const last = grace.last;
  if (last === null) return 0;
  const whole = Date.parse(last.effective_at) - Date.parse(last.signed_at);
  return whole <= 0 ? 0 : Math.min(1, Math.max(0, (Date.parse(last.effective_at) - now()) / whole));
}

/** Take the last signature back. Resolves to the task that is open again, null when there was nothing to take. */
export async function takeBack(): Promise<string | null> {
  const last = grace.last;
  if (last === null || graceLeft() === 0 || grace.taking) return null;
  grace.taking = true;
  try {
    const { task_id } = await api.reports.takeBack(last.report_id);
    forgetSigned();
    return task_id;
  } finally {
    grace.taking = false;
  }
}
