"""What do the tests of reports print, seal and check?"""

import io
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from PIL import Image

from viewers.report.authority import (
    Authority,
    Credential,
    Revocation,
    UnlockedKey,
    issue_reader,
    make_authority,
    make_crl,
    make_root_crl,
    unlock,
)
from viewers.report.content import (
    EcgSheet,
    InstanceRead,
    Institution,
    KeyImage,
    Patient,
    Reader,
    ReportContent,
    Study,
)
from viewers.report.page import report_pdf
from viewers.report.seal import seal

HOSPITAL = "原州区人民医院"
LICENCE = "110640127000815"
PASSWORD = "correct horse battery"
BEGIN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SIGNED_AT = datetime(2026, 11, 23, 6, 29, 8, tzinfo=UTC)
MARKER = "#123456"  # colour of the two lines whose distance is measured


def sheet_svg(width: float = 250, height: float = 115) -> str:
    """A made-up sheet: a 5 mm grid and, in the marker's colour, 200 mm across and 100 mm down."""
    grid = "".join(f"M{x} 0V{height:g}" for x in range(0, int(width) + 1, 5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}">'
        f'<path d="{grid}" stroke="#e89a9a" stroke-width=".18" fill="none"/>'
        f'<path d="M10 5H210" stroke="{MARKER}" stroke-width=".25" fill="none"/>'
        f'<path d="M20 10V110" stroke="{MARKER}" stroke-width=".25" fill="none"/>'
        '<text x="1" y="8" font-size="4" font-family="Noto Sans SC">aVR</text></svg>'
    )


@cache
def key_png() -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, "PNG")
    return out.getvalue()


def content(**changes: Any) -> ReportContent:
    values: dict[str, Any] = {
        "report_id": "r-1",
        "version": 1,
        "kind": "ECG",
        "hospital": Institution(name=HOSPITAL, name_en="Yuanzhou District People's Hospital"),
        "center": Institution(name="张易镇中心卫生院", name_en="Zhangyi Township Health Center"),
        "patient": Patient(
            name="丁建国",
            name_latin="Ding Jianguo",
            id="ZY-20931",
            sex="M",
            age="067Y",
            birth_date=date(1959, 3, 14),
        ),
        "study": Study(
            uid="2.25.1",
            description="常规 12 导联心电图",
            accession="RC20261123000123",
            acquired_at=datetime(2026, 11, 23, 6, 24, 3, tzinfo=UTC),
            device="ECG-1200",
        ),
        "findings": "窦性心律，心率 72 次/分。II、III、aVF 导联 ST 段抬高。",
        "impression": "急性下壁心肌梗死可能\nSuspected inferior infarction",
        "result": "abnormal",
        "reader": Reader(
            display="周敏", display_en="Zhou Min", title="主治医师", licence_number=LICENCE
        ),
        "signed_at": SIGNED_AT,
        "time_zone": "Asia/Shanghai",
        "call_back": "0954 203 4417",
        "verify_url": "https://reports.example.org/verify/8F3K22QD",
        "verify_code": "8F3K-22QD",
        "requester": "苏婉",
        "instances": (InstanceRead(sop_uid="2.25.2", sha256="a" * 64),),
    }
    return ReportContent(**{**values, **changes})


ECG = EcgSheet(svg=sheet_svg(), band="0.05–150 Hz")
KEY_IMAGE = KeyImage(png=key_png(), caption="序列 3，图像 52")


@cache
def _authority(hospital: str) -> Authority:
    return make_authority(hospital, now=BEGIN)


def authority(hospital: str = HOSPITAL) -> Authority:
    return _authority(hospital)


@cache
def _credential(name: str, licence: str, hospital: str) -> Credential:
    return issue_reader(
        authority(hospital),
        name=name,
        licence=licence,
        hospital=hospital,
        password=PASSWORD,
        now=BEGIN,
    )


def credential(name: str = "周敏", licence: str = LICENCE, hospital: str = HOSPITAL) -> Credential:
    return _credential(name, licence, hospital)


@cache
def _reader(name: str, licence: str, hospital: str) -> UnlockedKey:
    return unlock(_credential(name, licence, hospital), PASSWORD)


def reader(name: str = "周敏", licence: str = LICENCE, hospital: str = HOSPITAL) -> UnlockedKey:
    return _reader(name, licence, hospital)


@cache
def _crls(revoked: tuple[Revocation, ...], now: datetime, hospital: str) -> tuple[bytes, ...]:
    house = authority(hospital)
    return (
        make_crl(house, revoked, number=1, now=now),
        make_root_crl(house, number=1, now=now),
    )


def crls(*revoked: Revocation, now: datetime = SIGNED_AT, hospital: str = HOSPITAL) -> list[bytes]:
    return list(_crls(revoked, now, hospital))


@cache
def printed() -> bytes:
    return report_pdf(content(pictures=(ECG,)))


def sealed(pdf: bytes | None = None, **changes: Any) -> bytes:
    """A report signed at SIGNED_AT by the reader, unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "signer": reader(),
        "chain": authority().chain,
        "crls": crls(),
        "when": SIGNED_AT,
        "reason": "签发报告 Report signed",
        "location": HOSPITAL,
    }
    return seal(pdf or printed(), **{**values, **changes})


@cache
def signed() -> bytes:
    return sealed()
