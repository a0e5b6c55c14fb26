// What does the answer about a report mean, in one sentence?
import type { FileVerification, Verification } from "../lib/api";
import type { IconName } from "../lib/components/Icon.svelte";
import { t } from "../lib/i18n";

export const MAX_BYTES = 20 * 1024 * 1024;

/** What was asked about: the number alone, or a file that was dropped. */
export type Answer = { of: "number"; value: Verification } | { of: "file"; value: FileVerification };
export type VerdictState = "genuine" | "replaced" | "withdrawn" | "unknown";

export interface Verdict {
  state: VerdictState;
  head: string;
  sentence: string;
  icon: IconName;
  /** ok green, old amber, no black. Red is for critical results. */
  tone: "ok" | "old" | "no";
}

export function verdict(answer: Answer): Verdict {
  const state = answer.of === "file" && !answer.value.matches ? "unknown" : answer.value.state;
  const file = answer.of === "file";
  switch (state) {
    case "genuine":
      return {
        state, tone: "ok", icon: "seal",
        head: file ? t("真实，现行有效", "Genuine and valid") : t("在此签发，现行有效", "Signed here, and valid"),
        sentence: file
          ? t("签名后一个字节也没有改动，没有更新的版本。", "Not one byte changed since signing, and there is no newer version.")
          : t("没有更新的版本；请与手中的报告核对以下各项，或放入 PDF 逐字节核对。", "There is no newer version; compare this with the report you hold, or drop the PDF to check every byte."),
      };
    case "replaced":
      return {
        state, tone: "old", icon: "late",
        head: file ? t("真实，但已被替换", "Genuine, but replaced") : t("在此签发，但已被替换", "Signed here, but replaced"),
        sentence: file
          ? t("请使用新版；这份文件本身未被改动。", "Use the new version; this file itself is unchanged.")
          : t("请使用新版，这一版不再有效。", "Use the new version; this one is no longer valid."),
      };
    case "withdrawn":
      return {
        state, tone: "old", icon: "late",
        head: file ? t("真实，但已撤销", "Genuine, but withdrawn") : t("在此签发，但已撤销", "Signed here, but withdrawn"),
        sentence: t("请勿使用，并向出具医院询问。", "Do not use it, and ask the hospital that issued it."),
      };
    case "unknown":
      return {
        state, tone: "no", icon: "late",
        head: file ? t("不是本系统签发的文件", "Not a file signed here") : t("这里没有这个编号的报告", "No report with this number here"),
        sentence: file
          ? t("文件在签名后被改动过，或不是这个编号的报告；请向出具医院索取原件。", "It was changed after signing, or is not the report of this number; ask the hospital for the original.")
          : t("编号可能抄错，或报告从未在此签发；请向出具医院索取原件。", "The number may be mistyped, or it was never signed here; ask the hospital for the original."),
      };
  }
}

/** Why a file cannot be asked about, or null. `head` is its first bytes. */
export function fileProblem(file: { size: number }, head: Uint8Array): "too_big" | "empty" | "not_pdf" | null {
  if (file.size === 0) return "empty";
  if (file.size > MAX_BYTES) return "too_big";
  // Some writers put a few bytes before the header; readers accept it within the first KiB.
  return String.fromCharCode(...head).includes("%PDF-") ? null : "not_pdf";
}

/** "9f2c 41d0 … 7be3": enough of a SHA-256 to compare by eye. */
export function shortDigest(bytes: Uint8Array): string {
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 4)} ${hex.slice(4, 8)} … ${hex.slice(-4)}`;
}

/** The number out of what somebody typed or pasted: the bare number, or the whole address on the report. */
export const numberFrom = (text: string): string => text.trim().replace(/[?#].*$/, "").replace(/\/+$/, "").split("/").at(-1) ?? "";
