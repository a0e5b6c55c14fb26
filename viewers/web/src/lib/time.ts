// What time is it on the server, and how do people say how long something takes?
import { createSubscriber } from "svelte/reactivity";
import { t } from "./i18n";

// Deadlines come from the server's clock; the clock of an old PC may be minutes off.
let offset = 0;
const ticking = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

const watched = createSubscriber((update) => {
  ticking.add(update);
  timer ??= setInterval(() => {
    for (const tell of ticking) tell();
  }, 1000);
  return () => {
    ticking.delete(update);
    if (ticking.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
});

/** Note an instant the server just gave (ISO 8601 UTC). */
export function noteServerTime(instant: string, received: number = Date.now()): void {
  const server = Date.parse(instant);
  if (!Number.isNaN(server)) offset = server - received;
}

/** Milliseconds since 1970 on the server's clock. Not reactive. */
export const serverNow = (): number => Date.now() + offset;

/** The same, reactive: read it in a template and it follows once a second. */
export function now(): number {
  watched();
  return serverNow();
}

/** Whole minutes from now to an instant; negative when it has passed. Late by 10 s is −1. */
export const minutesLeft = (due: string, at: number = serverNow()): number => Math.floor((Date.parse(due) - at) / 60_000);

export type Urge = "calm" | "risk" | "late";

/** Late, at risk (less than a third of the target left) or calm. */
export function urge(due: string, targetSeconds: number, at: number = serverNow()): Urge {
  const left = Date.parse(due) - at;
  if (left < 0) return "late";
  return left < (targetSeconds * 1000) / 3 ? "risk" : "calm";
}

/** The share of the target that is left, 0–1. */
export function share(due: string, targetSeconds: number, at: number = serverNow()): number {
  if (targetSeconds <= 0) return 0;
  return Math.min(1, Math.max(0, (Date.parse(due) - at) / (targetSeconds * 1000)));
}

/** A span as figures and units, to set the figures bold: [["2", "时"], ["12", "分"]]. */
export function spanParts(minutes: number): [figure: string, unit: string][] {
  const all = Math.max(0, Math.round(minutes));
  const hours = Math.floor(all / 60);
  const rest = all % 60;
  if (hours === 0) return [[String(all), t("分", "min")]];
  if (hours >= 48) return [[String(Math.floor(hours / 24)), t("天", "d")], [String(hours % 24), t("时", "h")]];
  return [[String(hours), t("时", "h")], [String(rest).padStart(2, "0"), t("分", "min")]];
}

/** "22 分" / "22 min", "2 时 12 分" / "2 h 12 min". */
export const span = (minutes: number): string => spanParts(minutes).map((part) => part.join(" ")).join(" ");

/** How long ago an instant was, as people say it; whole minutes that have passed. */
export function ago(instant: string, at: number = serverNow()): string {
  const minutes = Math.floor((at - Date.parse(instant)) / 60_000);
  return minutes < 1 ? t("不到 1 分", "under 1 min") : span(minutes);
}

/** Clocks and days are those of the person's Site; before somebody signs in, the workstation's. */
let local = formatter();

export function showIn(zone: string | undefined): void {
  try {
    local = formatter(zone);
  } catch {
    local = formatter(); // a browser that does not know the zone
  }
}

function formatter(timeZone?: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-CA", { timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** ["2026-11-23", "14:23:05"] in that zone. */
function written(instant: string | number): [day: string, clock: string] {
  const part: Partial<Record<Intl.DateTimeFormatPartTypes, string>> = {};
  for (const { type, value } of local.formatToParts(new Date(instant))) part[type] = value;
  return [`${part.year}-${part.month}-${part.day}`, `${part.hour}:${part.minute}:${part.second}`];
}

/** "14:23", 24 hours. */
export const clock = (instant: string | number): string => written(instant)[1].slice(0, 5);

/** "14:23:05". */
export const clockSeconds = (instant: string | number): string => written(instant)[1];

/** "2026-11-23". */
export const day = (instant: string | number): string => written(instant)[0];

/** "14:23" for today, "11-22 14:23" within the year, "2025-11-22" before. */
export function when(instant: string, at: number = serverNow()): string {
  const there = day(instant);
  const here = day(at);
  if (there === here) return clock(instant);
  return there.slice(0, 4) === here.slice(0, 4) ? `${there.slice(5)} ${clock(instant)}` : there;
}

/** "2026-11-23 14:23". */
export const dayClock = (instant: string): string => `${day(instant)} ${clock(instant)}`;
