// What does a center's study look like in plain words?
import type { CenterStudy, Critical } from "../lib/api";
import type { IconName } from "../lib/components/Icon.svelte";
import { t } from "../lib/i18n";
import { clock, minutesLeft, span, when } from "../lib/time";
import { kindWord, resultWord, returnReasonWord } from "../lib/words";

/** Red is for a critical result only; amber wants something done; green is finished. */
export type Tone = "bad" | "risk" | "ok" | "strong" | "";

export interface Saying {
  text: string;
  tone: Tone;
  icon: IconName | null;
  /** The right-hand end of the row: a clock, a question, or the word on a button. */
  end: string;
  endIs: "button" | "strong" | "dim";
}

/** "胸部 CT 平扫", "心电图": the name a center's doctor would use. */
export function studyName(study: { kind: CenterStudy["kind"]; description: string }): string {
  return study.kind === "ECG" || study.description.trim() === "" ? kindWord(study.kind) : study.description;
}

/** When it was made; when it came, where the device did not say. */
export const studyTime = (study: CenterStudy, at: number): string => when(study.acquired_at ?? study.received_at, at);

/** "3 分 12 秒" / "3 min 12 s" since an instant; hours and minutes above one hour. */
export function elapsed(since: string, at: number): string {
  const seconds = Math.max(0, Math.floor((at - Date.parse(since)) / 1000));
  if (seconds >= 3600) return span(seconds / 60);
  const minutes = Math.floor(seconds / 60);
  const rest = seconds % 60;
  return minutes === 0 ? t(`${rest} 秒`, `${rest} s`) : t(`${minutes} 分 ${rest} 秒`, `${minutes} min ${rest} s`);
}

function left(due: string | null, at: number): string {
  if (due === null) return "";
  const minutes = minutesLeft(due, at);
  return minutes < 0 ? t(`超 ${span(-minutes)}`, `late ${span(-minutes)}`) : t(`还剩 ${span(minutes)}`, `${span(minutes)} left`);
}

function withResult(zh: string, en: string, study: CenterStudy): string {
  if (study.result === null) return t(zh, en);
  return t(`${zh}，${resultWord(study.result)}`, `${en}, ${resultWord(study.result).toLowerCase()}`);
}

const opened = (study: CenterStudy, at: number): string => (study.delivery?.opened_at ? when(study.delivery.opened_at, at) : "");

/** The row of one study at `at` (ms on the server's clock). `told` is when its critical result was told, if one is open. */
export function saying(study: CenterStudy, at: number, told: string | null = null): Saying {
  const report = study.report;
  if (report?.state === "withdrawn") {
    return { text: t("报告已撤销，请勿使用", "Report withdrawn, do not use it"), tone: "risk", icon: "late", end: t("查看", "View"), endIs: "button" };
  }
  if (report !== null && (report.state === "replaced" || report.replaced_by !== null)) {
    return { text: t("报告已被替换，请看新版", "Report replaced, see the new version"), tone: "risk", icon: "late", end: t("查看", "View"), endIs: "button" };
  }
  switch (study.state) {
    case "critical":
      return {
        text: t("危急值，等待复述", "Critical, waiting for read-back"), tone: "bad", icon: "critical",
        end: told === null ? "" : elapsed(told, at), endIs: "strong",
      };
    case "please_repeat":
      return {
        text: repeatLine(study), tone: "risk", icon: "repeat", end: t("患者还在吗？", "Patient still here?"), endIs: "strong",
      };
    case "report_ready":
      return { text: t("报告已出，还没有打开", "Report ready, not opened"), tone: "strong", icon: "next", end: t("打开", "Open"), endIs: "button" };
    case "opened":
      return { text: t("已打开，还没有确认收到", "Opened, receipt not confirmed"), tone: "strong", icon: "next", end: opened(study, at), endIs: "dim" };
    case "confirmed":
      return { text: withResult("已确认收到", "Receipt confirmed", study), tone: "ok", icon: "check", end: study.delivery?.acknowledged_at ? when(study.delivery.acknowledged_at, at) : "", endIs: "dim" };
    case "reading":
      return {
        text: study.reader === null ? t("正在阅片", "Being read") : t(`${study.reader}医生正在阅片`, `Dr ${study.reader} is reading`),
        tone: "", icon: null, end: left(study.due_at, at), endIs: "dim",
      };
    case "waiting":
      return { text: t("已收到，等待阅片", "Received, waiting to be read"), tone: "", icon: null, end: left(study.due_at, at), endIs: "dim" };
    case "receiving":
      return { text: t("正在接收", "Being received"), tone: "", icon: null, end: clock(study.received_at), endIs: "dim" };
  }
}

/** "请重做：电极接错或脱落": the reason, then the reader's own words. */
function repeatLine(study: CenterStudy): string {
  if (study.repeat === null) return t("请重做", "Please repeat");
  const why = study.repeat.reason_code === "other" && study.repeat.note ? study.repeat.note : returnReasonWord(study.repeat.reason_code);
  return t(`请重做：${why}`, `Please repeat: ${why.charAt(0).toLowerCase()}${why.slice(1)}`);
}

/** What the reader wrote beside the reason, when the reason's line has not said it yet. */
export const repeatNote = (study: CenterStudy): string =>
  study.repeat !== null && study.repeat.reason_code !== "other" ? (study.repeat.note ?? "") : "";

/** "心电图": the kind in the words of a sentence. */
export const criticalKind = (critical: Critical): string => kindWord(critical.kind);

/** The impression as a headline of one finding, and the rest. */
export function headline(impression: string): { first: string; rest: string } {
  const whole = impression.trim();
  const found = /^(.+?)(?:[。；;\n]|\.\s)\s*([\s\S]*)$/.exec(whole);
  if (found === null) return { first: whole, rest: "" };
  return { first: found[1]!.trim(), rest: found[2]!.trim() };
}
