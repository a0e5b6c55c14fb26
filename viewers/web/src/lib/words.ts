// What do people call the codes that the server sends?
import { named, t } from "./i18n";
import { ApiError } from "./api";
import type { Kind, Mark, Patient, Priority, ReportState, Result, ReturnReason, SiteName, TextRepair } from "./api";

export function priorityWord(priority: Priority): string {
  if (priority === "emergency") return t("急诊", "Emergency");
  return priority === "urgent" ? t("加急", "Urgent") : t("常规", "Routine");
}

export function kindWord(kind: Kind): string {
  const words: Record<Kind, string> = {
    ECG: t("心电图", "ECG"), CT: "CT", MR: "MR", DX: t("X 线", "X-ray"), US: t("超声", "Ultrasound"), OT: t("其他", "Other"),
  };
  return words[kind];
}

export function resultWord(result: Result): string {
  const words: Record<Result, string> = {
    normal: t("正常", "Normal"), abnormal: t("异常", "Abnormal"), critical: t("危急", "Critical"), unreadable: t("无法判读", "Not readable"),
  };
  return words[result];
}

export function reportStateWord(state: ReportState): string {
  const words: Record<ReportState, string> = {
    signed: t("已签发，可撤回", "Signed, can be taken back"), final: t("正式报告", "Final"), replaced: t("已被替换", "Replaced"),
    withdrawn: t("已撤销", "Withdrawn"), taken_back: t("已撤回", "Taken back"),
  };
  return words[state];
}

export function returnReasonWord(reason: ReturnReason): string {
  const words: Record<ReturnReason, string> = {
    electrodes: t("电极接错或脱落", "Electrodes swapped or off"), noise: t("干扰大", "Too much noise"), wrong_patient: t("患者不符", "Wrong patient"),
    incomplete_series: t("序列不全", "Incomplete series"), positioning: t("体位不当", "Positioning"), other: t("其他", "Other"),
  };
  return words[reason];
}

/** A mark of the task in a few words; null for one that says nothing to a reader. */
export function markWord(mark: Mark): string | null {
  const words: Record<Mark, string> = {
    no_patient_id: t("没有患者 ID", "No patient ID"), charset_guessed: t("姓名编码为推测", "Name encoding guessed"),
    identity_conflict: t("核对身份，可阅", "ID check, readable"), late_instances: t("有新到影像", "New images came"),
    uid_conflict: t("UID 冲突", "UID conflict"), clock_off: t("设备时钟不准", "Device clock is off"), follows_report: t("报告后又有影像", "Came after the report"),
    damaged: t("有影像损坏", "Images damaged"),
  };
  return words[mark] ?? null;
}

/** By which character set names are shown, and what the device says. */
export function repairWord(repair: TextRepair): string {
  const label = repair.labelled || t("无标注", "no label");
  if (repair.state === "rejected") return t(`姓名按设备标注显示：${label}`, `Name as the device labels it: ${label}`);
  return t(`姓名按 ${repair.proposed} 显示，设备标注：${label}`, `Name shown as ${repair.proposed}; device says ${label}`);
}

/** "男" / "M". Unknown is said, not guessed. */
export function sexWord(sex: Patient["sex"]): string {
  if (sex === "M") return t("男", "M");
  if (sex === "F") return t("女", "F");
  return sex === "O" ? t("其他", "Other") : t("性别不详", "Sex unknown");
}

/** DICOM age string ("058Y", "4M") as people say it: grown-ups as a bare figure, children with the unit. */
export function ageWord(age: string | null): string {
  const found = /^0*(\d+)([YMWD])$/.exec(age ?? "");
  if (found === null) return t("年龄不详", "age unknown");
  const [, figure = "", unit] = found;
  if (unit === "Y") return Number(figure) < 14 ? t(`${figure} 岁`, `${figure} y`) : figure;
  if (unit === "M") return t(`${figure} 个月`, `${figure} mo`);
  return unit === "W" ? t(`${figure} 周`, `${figure} wk`) : t(`${figure} 天`, `${figure} d`);
}

export const sexAge = (patient: Patient): string => `${sexWord(patient.sex)} ${ageWord(patient.age)}`;

/** The patient's name in the language in use; one without a name is said so. */
export function patientName(patient: Patient): string {
  return t(patient.name, patient.name_latin || patient.name) || t("无姓名", "No name");
}

/** A site in a list, where the kind of house goes without saying: "张易镇" for 张易镇卫生院. The whole name stays in its title. */
export function siteShort(site: Pick<SiteName, "name" | "name_en">): string {
  const whole = named(site.name, site.name_en);
  return whole.replace(/(社区卫生服务中心|卫生服务中心|中心卫生院|卫生院)$|\s+(Township |Town |Community )?(Health (Service )?(Center|Centre)|Hospital)$/u, "") || whole;
}

/** What the server refused, in words for the person at the desk. */
export function refusalWord(error: unknown): string {
  if (!(error instanceof ApiError)) return t("页面出错，请再试一次", "The page failed, try again");
  const words: Record<string, readonly [zh: string, en: string]> = {
    offline: ["连不上服务器，什么都没有改变", "The server cannot be reached, nothing was changed"],
    not_found: ["没有找到，或不归您看", "Not found, or not yours to see"],
    not_allowed: ["您的角色不能这样做", "Your role does not allow this"],
    not_signed_in: ["请先登录", "Sign in first"],
    wrong_credentials: ["用户名或密码不对", "User name or password is wrong"],
    too_many_attempts: ["尝试太多，请稍后再试", "Too many attempts, wait a little"],
    locked: ["屏幕已锁定", "The screen is locked"],
    forged_request: ["页面已过期，请重新载入", "The page is out of date, load it again"],
    already_claimed: ["已被另一位医生领取", "Another reader has claimed it"],
    not_open: ["这一例已不在待阅中", "This case is no longer open"],
    lease_lost: ["领取已到期，草稿保留", "Your claim has run out, the draft is kept"],
    draft_conflict: ["草稿在另一窗口改过", "The draft was changed in another window"],
    draft_changed: ["草稿与屏幕上的不同，请核对后再签", "The draft differs from the screen, check before signing"],
    wrong_study: ["屏幕上的检查不是这一份", "The study on the screen is another one"],
    study_changed: ["有新到影像，请先看过", "New images came, look at them first"],
    not_painted: ["还有影像没有显示过", "Some images were not shown yet"],
    report_incomplete: ["报告还没有写全", "The report is not complete"],
    signing_locked: ["请输入密码以签名", "Enter your password to sign"],
    not_printable: ["报告里有字体印不出的字", "The report holds a character that cannot be printed"],
    certificate_ended: ["您的签名证书已失效，请找管理员", "Your certificate has ended, ask the administrator"],
    grace_over: ["已生效，不能撤回；可更正或撤销", "In effect; it can be corrected or withdrawn"],
    wrong_state: ["报告的状态已变，请刷新", "The report has changed, load it again"],
    reason_missing: ["请写明理由", "Give a reason"],
    read_back_wrong: ["复述不符", "The read-back does not match"],
    unreachable: ["连不上那台设备", "That device cannot be reached"],
    already_exists: ["已经有了", "It exists already"],
  };
  const known = words[error.code];
  if (known !== undefined) return t(...known);
  return error.status >= 500 ? t("服务器出错，已记录", "The server failed; it has been noted") : error.message;
}

/** The address of a number to call (RFC 3966): figures and a leading plus only. */
export const telephone = (number: string): string => `tel:${number.replace(/[^+\d]/g, "")}`;
