// What does the panel say about text, signature and refusals?

import { ApiError } from "../../lib/api";
import { t } from "../../lib/i18n";
import { clock } from "../../lib/time";
import type { Room } from "../room.svelte";
import { holderOf, type Kept } from "./draft";
import type { Hindrance } from "./signing";

/** Is the text safe? One short phrase. */
export function keepingWords(kept: Kept): string {
  const saved = kept.savedAt === null ? "" : clock(kept.savedAt);
  switch (kept.keeping) {
    case "empty":
      return t("还没有草稿", "No draft yet");
    case "saved":
      return t(`${saved} 已存`, `saved ${saved}`);
    case "changed":
    case "saving":
      return t("正在存…", "saving…");
    case "here":
      return t("存在本机，还没到服务器", "saved here, not yet on the server");
    case "conflict":
      return t("另一个窗口也改了", "changed in another window too");
    case "lost":
      return t("草稿已保留", "draft kept");
    case "refused":
      return kept.refusal === null ? t("服务器没有收下", "the server did not take it") : refusalWords(kept.refusal);
  }
}

/** What stands between the reader and the signature; null for what the reader sees anyway. */
export function hindranceWords(room: Room, hindrance: Hindrance): string | null {
  switch (hindrance) {
    case "read_only":
    case "lost":
    case "not_on_server":
      return null;
    case "not_painted": {
      const { seen, total, unopened } = room.paintedCount;
      const rest = unopened.filter((view) => view.key !== room.current?.key).length;
      return rest > 0 ? t(`还有 ${rest} 个序列没打开`, `${rest} series not opened yet`) : t(`图像载入中 ${seen}/${total}`, `pictures coming ${seen}/${total}`);
    }
    case "late_unseen":
      return t("先看新到的图像", "Look at the new pictures first");
    case "no_impression":
      return t("结论还没写", "The impression is empty");
    case "no_result":
      return t("还没选结果", "No result chosen");
    case "blank":
      return t("还有 __ 没填", "A __ is not filled in");
    case "stale":
      return t("连接中断，不能签发", "Connection lost, signing is off");
  }
}

/** A refusal of the server as a sentence with what to do. */
export function refusalWords(error: unknown): string {
  if (!(error instanceof ApiError)) return t("没有成功，请再试", "It did not work, try again");
  if (error.status === 0) return t("没有收到回答，结果未知。再按一次，不会签两次。", "No answer came, the outcome is unknown. Press again; it will not sign twice.");
  switch (error.code) {
    case "draft_changed":
      return t("草稿在别处改过，请核对后再签", "The draft was changed elsewhere, check it and sign again");
    case "wrong_study":
      return t("这不是屏上的检查，没有签", "That is not the study on this screen, nothing was signed");
    case "study_changed":
      return t("检查里有新到的图像，先看再签", "New pictures came into this study, look at them first");
    case "not_painted":
      return t("有图像没看到，没有签", "Some pictures were not seen, nothing was signed");
    case "lease_lost":
      return t("持有时间已过，没有签；草稿已保留", "Your time ran out, nothing was signed; the draft is kept");
    case "report_incomplete":
      return t("报告不完整", "The report is not complete");
    case "already_claimed":
      return t(`已由 ${holderOf(error)?.[0] ?? "--"} 领取`, `Claimed by ${holderOf(error)?.[1] ?? "--"}`);
    case "not_printable":
      return t("有字打印不出来，没有签", "Some characters cannot be printed, nothing was signed");
    case "certificate_ended":
      return t("您的签名证书已失效，请联系管理员", "Your signing certificate has ended, ask the administrator");
    case "not_open":
      return t("这例已不在待阅中", "This case is no longer open");
    case "wrong_credentials":
      return t("密码不对", "Wrong password");
    case "too_many_attempts":
      return t("试得太多，请稍等", "Too many attempts, wait a little");
    default:
      return error.status >= 500 ? t("服务器出错，请再按一次，不会签两次", "The server failed; press again, it will not sign twice") : error.message;
  }
}
