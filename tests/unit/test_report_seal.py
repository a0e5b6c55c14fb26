"""Is a sealed report a PAdES signature others accept, and only when the reader may sign?"""

import io
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import DocumentSecurityStore

from tests.unit.report_cases import (
    BEGIN,
    HOSPITAL,
    LICENCE,
    SIGNED_AT,
    authority,
    credential,
    crls,
    printed,
    reader,
    sealed,
    signed,
)
from viewers.report.authority import READER_DAYS, Revocation
from viewers.report.seal import REVIEWER_ROLE, SealRefused

OTHER = ("陈静", "110640127000816")


def signatures(pdf: bytes):
    return PdfFileReader(io.BytesIO(pdf)).embedded_signatures


def test_the_first_signer_certifies_and_allows_only_signatures_after():
    (one,) = signatures(signed())

    assert one.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert one.docmdp_level.name == "FILL_FORMS"
    assert one.field_name == "Reader"
    assert one.md_algorithm == "sha256"


def test_name_reason_place_and_time_are_those_given():
    (one,) = signatures(signed())

    assert one.sig_object["/Name"] == "周敏"
    assert one.sig_object["/Reason"] == "签发报告 Report signed"
    assert one.sig_object["/Location"] == HOSPITAL
    assert one.self_reported_timestamp == SIGNED_AT


def test_certificates_and_revocation_lists_are_inside_what_is_signed():
    pdf = signed()
    (one,) = signatures(pdf)
    reader_of = PdfFileReader(io.BytesIO(pdf))
    store = DocumentSecurityStore.read_dss(reader_of)
    _, _, after, rest = (int(number) for number in one.byte_range)

    assert [reference.get_object().data for reference in store.crls] == crls()
    assert len(store.certs) == 3
    assert after + rest == len(pdf)


def test_it_stays_pdf_a_3b_with_the_pages_own_metadata():
    root = PdfFileReader(io.BytesIO(signed())).root
    before = PdfFileReader(io.BytesIO(printed())).root

    assert root["/Metadata"].data == before["/Metadata"].data
    assert "/Version" not in root
    assert list(root["/Extensions"]) == ["/ESIC"]
    assert signed().startswith(printed())


def test_the_same_signing_makes_the_same_file_at_another_time():
    again = sealed()
    time.sleep(1.01 - time.time() % 1)  # into the next second of this machine's clock

    assert sealed() == again == signed()
    assert sealed(when=SIGNED_AT + timedelta(seconds=1)) != signed()


def test_a_second_signer_signs_after_the_first():
    both = sealed(signed(), signer=reader(*OTHER), role=REVIEWER_ROLE)

    assert both.startswith(signed())
    assert [one.field_name for one in signatures(both)] == ["Reader", "Reviewer"]
    assert [one.sig_object["/Name"] for one in signatures(both)] == ["周敏", "陈静"]


def test_without_revocation_lists_it_is_a_bare_signature():
    root = PdfFileReader(io.BytesIO(sealed(crls=()))).root

    assert "/DSS" not in root


def test_nobody_signs_twice_in_one_role():
    with pytest.raises(SealRefused, match="already"):
        sealed(signed())


@pytest.mark.parametrize(
    "when", [BEGIN - timedelta(days=1), BEGIN + timedelta(days=READER_DAYS + 1)]
)
def test_nobody_signs_outside_the_certificates_time(when):
    with pytest.raises(SealRefused):
        sealed(when=when, crls=())


def test_nobody_signs_with_a_revoked_certificate():
    revoked = Revocation(credential().serial, SIGNED_AT - timedelta(hours=1))

    with pytest.raises(SealRefused):
        sealed(crls=crls(revoked))


def test_nobody_signs_under_another_hospitals_root():
    with pytest.raises(SealRefused):
        sealed(chain=authority("别的医院").chain, crls=())


@pytest.mark.parametrize("pdf", [b"no pdf", b"%PDF-1.7\n%%EOF\n"])
def test_what_is_no_pdf_is_not_signed(pdf):
    with pytest.raises(SealRefused):
        sealed(pdf)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        sealed(when=datetime(2026, 11, 23))  # noqa: DTZ001


def test_many_threads_may_sign_at_once():
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: sealed(), range(24)))

    assert set(results) == {signed()}


# --- an independent judge ---------------------------------------------------------------------


def pdfsig(*options: str, pdf: bytes, folder: Path) -> str:
    path = folder / "signed.pdf"
    path.write_bytes(pdf)
    done = subprocess.run(
        ["pdfsig", *options, str(path)], capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.poppler
def test_pdfsig_finds_the_signature_valid(tmp_path):
    text = pdfsig("-nocert", pdf=signed(), folder=tmp_path)

    assert "Signature Validation: Signature is Valid." in text
    assert "Total document signed" in text
    assert "Signer Certificate Common Name: 周敏" in text
    assert f"serialNumber={LICENCE}" in text
    assert "Signature Type: ETSI.CAdES.detached" in text


@pytest.mark.poppler
def test_pdfsig_trusts_the_certificate_where_the_root_is_trusted(tmp_path):
    if shutil.which("certutil") is None:
        pytest.skip("Debian package libnss3-tools is not installed")
    database = tmp_path / "nss"
    database.mkdir()
    root = tmp_path / "root.der"
    root.write_bytes(authority().root.public_bytes(Encoding.DER))
    for command in (
        ["certutil", "-N", "-d", f"sql:{database}", "--empty-password"],
        ["certutil", "-A", "-d", f"sql:{database}", "-n", "root", "-t", "C,C,C", "-i", str(root)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    both = sealed(signed(), signer=reader(*OTHER), role=REVIEWER_ROLE)
    text = pdfsig("-nssdir", f"sql:{database}", pdf=both, folder=tmp_path)

    assert text.count("Signature is Valid.") == 2
    assert text.count("Certificate is Trusted.") == 2


@pytest.mark.poppler
def test_pdfsig_says_no_to_a_changed_byte(tmp_path):
    altered = signed().replace(b"/Reason", b"/Raeson", 1)
    text = pdfsig("-nocert", pdf=altered, folder=tmp_path)

    assert altered != signed()
    assert "Signature is Valid." not in text
    assert re.search(r"Digest Mismatch|Signature is Invalid|Signature has not", text)
