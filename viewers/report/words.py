"""How does each code of a report read in Chinese and in English?"""

from __future__ import annotations

from typing import NamedTuple

from viewers.report.content import Kind, Mark, ReplacementKind, ResultClass, Sex


class Words(NamedTuple):
    """One thing said in both languages."""

    zh: str
    en: str


TITLES: dict[Kind, Words] = {
    "ECG": Words("远程心电图报告", "Remote ECG report"),
    "CT": Words("远程 CT 诊断报告", "Remote CT report"),
    "MR": Words("远程磁共振诊断报告", "Remote MR report"),
    "DX": Words("远程 X 线诊断报告", "Remote radiography report"),
    "US": Words("远程超声诊断报告", "Remote ultrasound report"),
    "OT": Words("远程影像诊断报告", "Remote imaging report"),
}

RESULTS: dict[ResultClass, Words] = {
    "normal": Words("正常", "Normal"),
    "abnormal": Words("异常", "Abnormal"),
    "critical": Words("危急值", "Critical"),
    "unreadable": Words("无法判读", "Unreadable"),
}

SEXES: dict[Sex, Words] = {
    "M": Words("男", "M"),
    "F": Words("女", "F"),
    "O": Words("其他", "Other"),
}

AGE_UNITS: dict[str, Words] = {
    "Y": Words("岁", "y"),
    "M": Words("个月", "mo"),
    "W": Words("周", "w"),
    "D": Words("天", "d"),
}

MARKS: dict[Mark, Words] = {
    "no_patient_id": Words(
        "检查没有患者 ID，请核对身份",
        "The study came without a patient ID; check who it is",
    ),
    "charset_guessed": Words(
        "设备未注明字符集，姓名按推测解码，请核对",
        "The device named no character set; the name was decoded by inference, check it",
    ),
    "identity_conflict": Words(
        "同一患者 ID 曾用于其他姓名、出生日期或性别，请核对身份",
        "This patient ID was also used with another name, birth date or sex; check who it is",
    ),
    "late_instances": Words(
        "部分数据在领取后到达，签发前已阅",
        "Some of the data came after reading began and was seen before signing",
    ),
    "uid_conflict": Words(
        "设备以同一 UID 发送过不同内容",
        "The device sent different content under one UID",
    ),
    "clock_off": Words(
        "设备时钟偏差超过 5 分钟，采集时间仅供参考",
        "The device clock is more than 5 minutes off; take the time of acquisition with care",
    ),
    "follows_report": Words(
        "本报告依据较早报告之后到达的数据",
        "This report is of data that came after an earlier report",
    ),
}

REPLACEMENTS: dict[ReplacementKind, Words] = {
    "correction": Words(
        "更正报告：取代第 {version} 版",
        "Corrected report: replaces version {version}",
    ),
    "addendum": Words(
        "补充报告：补充第 {version} 版",
        "Addendum to version {version}",
    ),
    "withdrawal": Words(
        "撤销声明：第 {version} 版作废，请勿使用",
        "Withdrawal: version {version} is void and must not be used",
    ),
}
