// How do the device's values stand against the earlier ones?

import type { EcgRecording } from "../../lib/api";

type Values = EcgRecording["device_values"];

export interface ValueRow {
  readonly id: "hr" | "pr" | "qrs" | "qt" | "axis";
  readonly unit: string;
  readonly now: string;
  readonly then: string;
  /** Whether there is a value to be unconfirmed at all. */
  readonly known: boolean;
  /** Now minus then; null when either is missing, or for a pair of which a difference says nothing. */
  readonly change: number | null;
}

const NONE = "--";
const one = (value: number | null | undefined): string => (value === null || value === undefined ? NONE : signed(value));
const signed = (value: number): string => String(Math.round(value)).replace("-", "−");
const several = (...values: (number | null | undefined)[]): string =>
  values.every((value) => value === null || value === undefined) ? NONE : values.map(one).join(" / ");

export function valueRows(now: Values | null, then: Values | null): ValueRow[] {
  const single = (id: ValueRow["id"], unit: string, pick: (values: Values) => number | null): ValueRow => {
    const a = now === null ? null : pick(now);
    const b = then === null ? null : pick(then);
    return { id, unit, now: one(a), then: one(b), known: a !== null, change: a === null || b === null ? null : Math.round(a - b) };
  };
  const joined = (id: ValueRow["id"], unit: string, say: (values: Values) => string): ValueRow => {
    const a = now === null ? NONE : say(now);
    return { id, unit, now: a, then: then === null ? NONE : say(then), known: a !== NONE, change: null };
  };
  return [
    single("hr", "/min", (values) => values.heart_rate_bpm),
    single("pr", "ms", (values) => values.pr_ms),
    single("qrs", "ms", (values) => values.qrs_ms),
    joined("qt", "ms", (values) => several(values.qt_ms, values.qtc_ms)),
    joined("axis", "°", ({ axis_deg: axis }) => several(axis.p, axis.qrs, axis.t)),
  ];
}

export function changeWords(change: number | null): string {
  if (change === null) return "";
  return change > 0 ? `+${change}` : signed(change);
}
