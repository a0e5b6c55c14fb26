// Which of one's own reports are shown, and what may still be done with each?
import type { ReportRow } from "../lib/api";
import { t } from "../lib/i18n";
import type { IconName } from "../lib/components/Icon.svelte";
import { when } from "../lib/time";

export type Part = "all" | "unopened" | "recalled";

const isRecalled = (row: ReportRow): boolean => row.state === "withdrawn" || row.state === "replaced" || row.state === "taken_back";
const isUnopened = (row: ReportRow): boolean => row.state === "final" && row.opened_at === null;

/** Newest first. */
export const sorted = (rows: readonly ReportRow[]): ReportRow[] =>
  [...rows].sort((a, b) => b.signed_at.localeCompare(a.signed_at) || b.version - a.version || a.id.localeCompare(b.id));

export const inPart = (row: ReportRow, part: Part): boolean =>
  part === "all" || (part === "unopened" ? isUnopened(row) : isRecalled(row));

/** Does the row answer what is typed? By name in both scripts, id, study and center. */
export function matches(row: ReportRow, typed: string): boolean {
  const wanted = typed.trim().toLowerCase();
  if (wanted === "") return true;
  const { patient } = row;
  const latin = (patient.name_latin ?? "").toLowerCase();
  return [patient.name, latin, patient.id ?? "", row.study_description, row.site.name, row.site.name_en].some((text) => text.toLowerCase().includes(wanted))
    || initials(latin).startsWith(wanted);
}

const SYLLABLE = /(?:zh|ch|sh|[b-df-hj-np-tv-z])?(?:i(?:ang|ong|an|ao|ng|n|a|e|u)|u(?:ang|ai|an|n|a|e|i|o)|a(?:ng|i|n|o)|e(?:ng|i|n|r)|o(?:ng|u)|[aeiouv])/g;

/** First letters of the pinyin syllables: "wang zhiming" → "wzm". */
const initials = (latin: string): string => (latin.match(SYLLABLE) ?? []).map((syllable) => syllable.charAt(0)).join("");

/** Seconds in which the signature can still be taken back at `at` (ms, server clock). */
export const graceSeconds = (row: ReportRow, at: number): number =>
  row.state === "signed" ? Math.max(0, Math.ceil((Date.parse(row.effective_at) - at) / 1000)) : 0;

/** A report in force can be withdrawn or replaced. */
export const canRecall = (row: ReportRow, at: number): boolean => row.state === "final" || (row.state === "signed" && graceSeconds(row, at) === 0);

export interface Receipt {
  text: string;
  icon: IconName | null;
  tone: "" | "ok" | "strong";
}

/** What the center has done with it. */
export function receipt(row: ReportRow, at: number): Receipt {
  if (row.acknowledged_at !== null) return { text: t(`已确认 ${when(row.acknowledged_at, at)}`, `Confirmed ${when(row.acknowledged_at, at)}`), icon: "check", tone: "ok" };
  if (row.opened_at !== null) return { text: t(`已查看 ${when(row.opened_at, at)}`, `Opened ${when(row.opened_at, at)}`), icon: null, tone: "" };
  if (row.state === "final") return { text: t("还没有打开", "Not opened"), icon: "unconfirmed", tone: "strong" };
  return { text: "", icon: null, tone: "" };
}

/** The state in a word; a report in grace says how long it can be taken back. */
export function stateWords(row: ReportRow, at: number): { text: string; tone: "" | "risk" | "you" } {
  const left = graceSeconds(row, at);
  if (left > 0) return { text: t(`${left} 秒内可撤回`, `Take back within ${left} s`), tone: "you" };
  if (row.state === "withdrawn") return { text: t("已撤销", "Withdrawn"), tone: "risk" };
  if (row.state === "replaced") return { text: t("已被替换", "Replaced"), tone: "risk" };
  if (row.state === "taken_back") return { text: t("已撤回，未送出", "Taken back, not sent"), tone: "" };
  return row.study_newer ? { text: t("早于检查", "Older than study"), tone: "risk" } : { text: t("正式报告", "Final"), tone: "" };
}
