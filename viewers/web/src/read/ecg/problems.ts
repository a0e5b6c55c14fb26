// What must a reader know about this recording before trusting it?

import { t } from "../../lib/i18n";

type Say = (leads: string) => string;

/** Codes of the server; what they are about (leads, a value's name) follows a colon there. */
const WORDS: Readonly<Record<string, Say>> = {
  lead_missing: (leads) => t(`${leads} 未记录`, `${leads}: not recorded`),
  lead_unknown: () => t("有导联名称不明，未画", "A lead of unknown name is not drawn"),
  lead_duplicate: (leads) => t(`${leads} 有两份，只画一份`, `${leads}: recorded twice, one is drawn`),
  lead_name_conflict: (leads) => t(`${leads} 名称与编码不一致`, `${leads}: named in two ways`),
  scale_unknown: (leads) => t(`${leads} 没有比例，未画`, `${leads}: no scale, not drawn`),
  unit_unknown: (leads) => t(`${leads} 单位不明，未画`, `${leads}: unknown unit, not drawn`),
  scale_implausible: (leads) => t(`${leads} 比例不可信，未画`, `${leads}: implausible scale, not drawn`),
  clipped: (leads) => t(`${leads} 被设备削顶`, `${leads}: clipped by the device`),
  flat: (leads) => t(`${leads} 为直线`, `${leads}: flat`),
  gaps: (leads) => t(`${leads} 有中断`, `${leads}: interrupted`),
  filters_differ: () => t("各导联滤波不同", "Filters differ between leads"),
  limb_leads_calculated: () => t("III、aVR、aVL、aVF 由 I 和 II 算出", "III, aVR, aVL, aVF calculated from I and II"),
  not_simultaneous: () => t("各导联不是同时记录", "Leads not recorded at the same time"),
  channel_skew: (leads) => t(`${leads} 时间有偏移`, `${leads}: shifted in time`),
  extra_bytes: () => t("波形后有多余数据", "Extra data after the waveform"),
  group_unreadable: () => t("有一段波形读不出", "A part of the waveform is unreadable"),
  no_time_zone: () => t("采集时间没有时区", "Time of acquisition without a zone"),
  no_time: () => t("没有采集时间", "No time of acquisition"),
  short: () => t("不足 10 秒", "Shorter than 10 s"),
  device_value_implausible: () => t("有设备测量值不可信，未列", "An implausible device value is left out"),
};

/** One sentence per kind of problem; an unknown code is shown as it is rather than hidden. */
export function problemWords(problems: readonly string[]): string[] {
  const about = new Map<string, string[]>();
  for (const problem of problems) {
    const [code = "", lead = ""] = problem.split(":", 2);
    about.set(code, [...(about.get(code) ?? []), lead]);
  }
  return [...about].map(([code, leads]) => WORDS[code]?.(leads.filter((lead) => lead !== "").join(t("、", ", "))) ?? code);
}
