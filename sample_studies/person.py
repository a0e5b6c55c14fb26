"""Who is on the picture: a made-up person, as a device would write it?"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8), "CST")


@dataclass(frozen=True)
class Patient:
    """A person who does not exist.

    `name` is a DICOM PN, alphabetic group first (`Ding^Yangli=丁^样例`); `charset` is a
    term of PS3.3 C.12.1.1.2: `GB18030`, `ISO_IR 192` or, for names in ASCII, the empty string.
    """

    name: str
    patient_id: str
    sex: str
    birth_date: date
    charset: str = "ISO_IR 192"

    def age_at(self, when: datetime) -> str:
        """Age as a DICOM AS value: years, below two years months (`058Y`, `004M`)."""
        day = when.date()
        months = (day.year - self.birth_date.year) * 12 + day.month - self.birth_date.month
        months -= day.day < self.birth_date.day
        return f"{months:03d}M" if months < 24 else f"{months // 12:03d}Y"


@dataclass(frozen=True)
class Visit:
    """Why and when the person was examined; `when` is aware and becomes local DA/TM + offset."""

    when: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=CHINA)
    accession: str = ""
    question: str = ""
    institution: str = "Sample Health Center"


DING = Patient("Ding^Yangli=丁^样例", "SAMPLE-0001", "M", date(1962, 3, 14))
SHEN = Patient("Shen^Moni=沈^模拟", "SAMPLE-0002", "F", date(1957, 11, 2), "GB18030")
QIAO = Patient("Qiao^Yanshi=乔^演示", "SAMPLE-0003", "F", date(1989, 7, 21))
YAN = Patient("Yan^Xugou=闫^虚构", "SAMPLE-0004", "M", date(1948, 1, 30), "GB18030")
BAI = Patient("Bai^Ceshi=柏^测试", "SAMPLE-0005", "M", date(1971, 9, 9))
LUO = Patient("Luo^Jiashe=罗^假设", "SAMPLE-0006", "F", date(1966, 5, 27), "GB18030")
EVERYONE = (DING, SHEN, QIAO, YAN, BAI, LUO)
