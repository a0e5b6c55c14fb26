"""Does verification find every change, and let a true report stay true?"""

import hashlib
import io
import random
import re
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from tests.unit.report_cases import (
    HOSPITAL,
    LICENCE,
    PASSWORD,
    SIGNED_AT,
    authority,
    content,
    credential,
    crls,
    printed,
    reader,
    sealed,
    signed,
)
from viewers.report.authority import (
    Revocation,
    UnlockedKey,
    issue_reader,
    make_authority,
    make_crl,
    make_root_crl,
    unlock,
)
from viewers.report.page import report_pdf
from viewers.report.seal import READER_ROLE, REVIEWER_ROLE
from viewers.report.verify import Verdict, verify

SOON = SIGNED_AT + timedelta(hours=1)
YEARS = timedelta(days=365)
OTHER = ("陈静", "110640127000816")


def digest(pdf: bytes) -> str:
    return hashlib.sha256(pdf).hexdigest()


def ask(pdf: bytes, **changes) -> Verdict:
    """What a verifier with the root and no register answers, an hour after signing."""
    values = {
        "trust_roots": [authority().root],
        "crls": crls(now=SOON),
        "expected_sha256": None,
        "at": SOON,
    }
    return verify(pdf, **{**values, **changes})


def ask_register(pdf: bytes, **changes) -> Verdict:
    """What the hospital answers that registered the signed report."""
    return ask(pdf, **{"expected_sha256": digest(signed()), "registered_at": SIGNED_AT, **changes})


@cache
def both_signed() -> bytes:
    return sealed(signed(), signer=reader(*OTHER), role=REVIEWER_ROLE)


BOTH = (READER_ROLE, REVIEWER_ROLE)


# --- genuine ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verifier", [ask, ask_register])
def test_the_untouched_file_is_genuine_and_says_who_signed_when(verifier):
    verdict = verifier(signed())

    assert verdict.genuine
    assert verdict.why.code == "genuine"
    assert verdict.why.zh
    assert verdict.why.en
    assert verdict.sha256 == digest(signed())
    (signer,) = verdict.signers
    assert (signer.name, signer.licence, signer.when) == ("周敏", LICENCE, SIGNED_AT)
    assert int(signer.serial, 16) == credential().serial


def test_both_signers_are_named_in_order():
    verdict = ask(both_signed(), required_signers=BOTH)

    assert verdict.genuine
    assert [(s.name, s.licence) for s in verdict.signers] == [("周敏", LICENCE), OTHER]


def test_the_digest_may_be_written_in_capitals():
    assert ask(signed(), expected_sha256=digest(signed()).upper()).genuine


# --- changed bytes ----------------------------------------------------------------------------


def positions(pdf: bytes) -> list[int]:
    """Places all over the file, and closely in and around the signature itself."""
    (one,) = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    _, start, after, _ = (int(number) for number in one.byte_range)
    chance = random.Random(20261123)
    return sorted(
        {0, 5, start - 1, start, start + 1, after - 2, after - 1, after, len(pdf) - 1}
        | set(chance.sample(range(len(pdf)), 60))
        | set(chance.sample(range(start, after), 60))
    )


@pytest.mark.parametrize("verifier", [ask, ask_register])
def test_one_changed_byte_anywhere_and_it_says_no(verifier):
    pdf = signed()
    for position in positions(pdf):
        for mask in (0x01, 0x20):
            altered = bytearray(pdf)
            altered[position] ^= mask
            assert not verifier(bytes(altered)).genuine, (position, mask)


def test_another_encoding_of_the_same_values_counts():
    """Lengths that reach into the room behind, and unused bits of a signature, say nothing new."""
    pdf = signed()
    (one,) = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    start, after = int(one.byte_range[1]), int(one.byte_range[2])
    der = bytes.fromhex(pdf[start + 1 : after - 1].decode("ascii"))
    # ecdsa-with-SHA256 or -SHA384, then BIT STRING, its length, the number of unused bits (0)
    bits = [
        found.end() for found in re.finditer(rb"\x2a\x86\x48\xce\x3d\x04\x03[\x02\x03]\x03.", der)
    ]
    assert len(bits) >= 3
    for place in (2, 3, *bits):
        altered = bytearray(pdf)
        altered[start + 2 + 2 * place] ^= 1
        assert not ask(bytes(altered)).genuine, place


def test_even_the_case_of_a_hex_digit_in_the_signature_counts():
    pdf = signed()
    (one,) = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    start, after = int(one.byte_range[1]), int(one.byte_range[2])
    lower = pdf[:start] + pdf[start:after].lower() + pdf[after:]

    assert lower != pdf
    assert ask(lower).why.code == "changed"


def test_the_room_left_after_the_signature_must_stay_empty():
    pdf = signed()
    (one,) = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    after = int(one.byte_range[2])
    assert pdf[after - 9 : after - 1] == b"0" * 8

    assert ask(pdf[: after - 9] + b"DEADBEEF" + pdf[after - 1 :]).why.code == "changed"


@pytest.mark.parametrize("tail", [b"\n", b" ", b"\0" * 100, b"\n%%EOF\n", b"%PDF-1.7\n%%EOF"])
def test_appended_bytes_and_it_says_no(tail):
    assert not ask(signed() + tail).genuine
    assert ask_register(signed() + tail).why.code == "digest_differs"


def updated(pdf: bytes) -> bytes:
    """The file with a proper incremental update that turns a page, as an editor would write it."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    page = writer.root["/Pages"]["/Kids"][0]
    page["/Rotate"] = generic.NumberObject(180)
    writer.update_container(page)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_proper_update_after_signing_and_it_says_no():
    assert not ask(updated(signed())).genuine
    assert not ask(updated(both_signed()), required_signers=BOTH).genuine


def test_an_empty_update_after_signing_and_it_says_no():
    """An update that changes nothing visible is still bytes nobody signed."""
    writer = IncrementalPdfFileWriter(io.BytesIO(signed()))
    writer.add_object(generic.TextStringObject("hidden"))
    out = io.BytesIO()
    writer.write(out)

    assert ask(out.getvalue()).why.code == "changed"


@pytest.mark.parametrize("kept", [0, 4, 100, 0.3, 0.9, -1, -7, -200])
def test_a_cut_file_and_it_says_no(kept):
    pdf = signed()
    end = int(len(pdf) * kept) if isinstance(kept, float) else kept
    assert not ask(pdf[:end]).genuine
    assert ask_register(pdf[:end]).why.code == "digest_differs"


def test_cut_back_to_the_first_of_two_signatures_and_it_says_no():
    """That file is a valid PDF with a valid signature: only the register's rule sees it."""
    cut = both_signed()[: len(signed())]

    assert cut == signed()
    assert ask(cut, required_signers=BOTH).why.code == "signers_differ"
    assert ask(cut, required_signers=BOTH, expected_sha256=digest(both_signed())).why.code == (
        "digest_differs"
    )


def test_more_signatures_than_required_and_it_says_no():
    assert ask(both_signed()).why.code == "signers_differ"


def test_signatures_in_another_order_and_it_says_no():
    assert ask(both_signed(), required_signers=BOTH[::-1]).why.code == "signers_differ"


def test_another_pages_under_the_same_signature_and_it_says_no():
    """The container of a true signature, moved onto a report that says something else."""
    other = sealed(report_pdf(content(impression="正常心电图", result="normal")))
    (true,) = PdfFileReader(io.BytesIO(signed())).embedded_signatures
    (false,) = PdfFileReader(io.BytesIO(other)).embedded_signatures
    held = signed()[int(true.byte_range[1]) : int(true.byte_range[2])]
    start, after = int(false.byte_range[1]), int(false.byte_range[2])

    assert after - start == len(held)
    assert ask(other[:start] + held + other[after:]).why.code == "changed"


def test_another_true_report_is_not_the_registered_one():
    other = sealed(report_pdf(content(impression="正常心电图", result="normal")))

    assert ask(other).genuine
    assert ask_register(other).why.code == "digest_differs"


@pytest.mark.parametrize(
    ("pdf", "code"),
    [
        (b"", "unreadable"),
        (b"hello", "unreadable"),
        (b"\x89PNG\r\n\x1a\n", "unreadable"),
        (b"%PDF-1.7\n", "changed"),
        (b"%PDF-1.7\n" + b"<<" * 50_000, "changed"),
    ],
)
def test_what_is_no_report_gets_an_answer_and_no_error(pdf, code):
    assert ask(pdf).why.code == code


def test_an_unsigned_report_is_not_genuine():
    assert ask(printed()).why.code == "not_signed"


# --- who signed -------------------------------------------------------------------------------


def test_another_hospitals_reader_is_not_ours():
    there = "别的医院"
    theirs = sealed(
        signer=reader("周敏", LICENCE, there),
        chain=authority(there).chain,
        crls=crls(hospital=there),
    )

    assert ask(theirs).why.code == "not_ours"
    assert ask(theirs).signers == ()
    assert ask(theirs, trust_roots=[authority().root, authority(there).root]).genuine


def issued(usage: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    usages = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "周敏")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(SIGNED_AT - YEARS)
        .not_valid_after(SIGNED_AT + YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**usages, usage: True}), critical=True)
    )


def test_a_certificate_for_another_purpose_is_not_one_for_signing_reports():
    """Issued by our own authority, but without nonRepudiation: a device or a web server, say."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        issued("digital_signature", key)
        .issuer_name(authority().issuing.subject)
        .sign(authority().issuing_key, hashes.SHA256())
    )
    reports = sealed_by_force(UnlockedKey(certificate, key))

    assert ask(reports).why.code == "not_ours"


def sealed_by_force(signer: UnlockedKey) -> bytes:
    """Signed without asking whether the signer may: what a forger's own program would do."""
    from pyhanko.sign.fields import SigSeedSubFilter
    from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, SimpleSigner

    der = signer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store = SimpleCertificateStore()
    chain = [asn1_x509.Certificate.load(c.public_bytes(Encoding.DER)) for c in authority().chain]
    store.register_multiple(chain)
    hand = SimpleSigner(
        asn1_x509.Certificate.load(signer.certificate.public_bytes(Encoding.DER)),
        asn1_keys.PrivateKeyInfo.load(der),
        store,
    )
    metadata = PdfSignatureMetadata(
        field_name=READER_ROLE, subfilter=SigSeedSubFilter.PADES, md_algorithm="sha256"
    )
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(printed()))
    PdfSigner(metadata, hand).sign_pdf(writer, output=out)
    return out.getvalue()


def test_a_certificate_somebody_made_in_our_name_is_not_ours():
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        issued("content_commitment", key)
        .issuer_name(authority().issuing.subject)
        .sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256())
    )

    assert not ask(sealed_by_force(UnlockedKey(certificate, key))).genuine


# --- time -------------------------------------------------------------------------------------


def test_a_registered_report_stays_valid_when_its_certificate_expires():
    later = SIGNED_AT + 15 * YEARS  # reader's and issuing certificate have ended
    verdict = ask_register(signed(), at=later, crls=crls(now=later))

    assert verdict.genuine
    assert verdict.signers[0].name == "周敏"


def test_a_registered_report_stays_valid_when_its_certificate_is_revoked_later():
    reset = Revocation(credential().serial, SIGNED_AT + timedelta(seconds=1), "superseded")
    later = SIGNED_AT + timedelta(days=400)

    assert ask_register(signed(), at=later, crls=crls(reset, now=later)).genuine


def test_without_the_register_an_expired_certificate_proves_nothing():
    later = SIGNED_AT + 4 * YEARS
    verdict = ask(signed(), at=later, crls=crls(now=later))

    assert not verdict.genuine
    assert verdict.why.code == "time_unproven"
    assert verdict.signers[0].name == "周敏"


def test_without_the_register_a_revoked_certificate_proves_nothing():
    reset = Revocation(credential().serial, SIGNED_AT + timedelta(minutes=1))

    assert ask(signed(), crls=crls(reset, now=SOON)).why.code == "time_unproven"


def test_a_backdated_signature_of_a_stolen_key_is_not_believed():
    """The key was stolen, reported and revoked; then somebody signs with an old time."""
    stolen = Revocation(credential().serial, SIGNED_AT, "key_compromise")
    forged = sealed(
        report_pdf(content(impression="伪造")), when=SIGNED_AT - timedelta(days=30), crls=()
    )

    assert ask(forged, crls=crls(stolen, now=SOON)).why.code == "time_unproven"
    assert ask_register(forged, crls=crls(stolen, now=SOON)).why.code == "digest_differs"


def test_a_time_of_the_register_counts_only_with_its_digest():
    later = SIGNED_AT + 4 * YEARS
    verdict = ask(signed(), at=later, crls=crls(now=later), registered_at=SIGNED_AT)

    assert verdict.why.code == "time_unproven"


def test_revoked_before_signing_and_it_says_no_though_registered():
    before = Revocation(credential().serial, SIGNED_AT - timedelta(days=1))
    verdict = ask_register(sealed(), crls=crls(before, now=SOON))

    assert verdict.why.code == "revoked"


def test_signed_before_the_certificate_began_and_it_says_no():
    late = unlock(
        issue_reader(
            authority(), name="甲", licence="1", hospital=HOSPITAL, password=PASSWORD, now=SOON
        ),
        PASSWORD,
    )
    pdf = sealed(signer=late, when=SOON)
    verdict = ask(pdf, expected_sha256=digest(pdf), registered_at=SIGNED_AT)

    assert verdict.why.code in ("time_contradicts", "expired")


def test_a_signature_from_the_future_contradicts():
    assert ask(signed(), at=SIGNED_AT - timedelta(hours=1)).why.code == "time_contradicts"
    early = SIGNED_AT - timedelta(hours=1)
    assert ask_register(signed(), registered_at=early).why.code == "time_contradicts"


# --- revocation lists -------------------------------------------------------------------------


def test_without_any_list_it_cannot_be_told():
    bare = sealed(crls=())

    assert ask(bare, crls=()).why.code == "revocation_unknown"
    assert ask(bare).genuine


def test_the_lists_inside_the_file_serve_while_they_are_current():
    assert ask(signed(), crls=()).genuine
    stale = SIGNED_AT + timedelta(days=31)
    assert ask(signed(), crls=(), at=stale).why.code == "revocation_unknown"


def test_a_list_of_another_issuer_or_a_forged_one_says_nothing():
    """A forged list can neither revoke a true certificate nor clear a revoked one."""
    impostor = make_authority(HOSPITAL, now=SIGNED_AT - timedelta(days=1))
    accusing = Revocation(credential().serial, SIGNED_AT - timedelta(days=1))
    forged = [
        make_crl(impostor, [accusing], number=9, now=SOON),
        make_root_crl(impostor, number=9, now=SOON),
    ]

    assert ask(signed(), crls=[*crls(now=SOON), *forged]).genuine
    assert ask(sealed(crls=()), crls=forged).why.code == "revocation_unknown"


# --- time-stamps ------------------------------------------------------------------------------


def stamping() -> tuple[DummyTimeStamper, x509.Certificate]:
    """A time-stamp authority of somebody else (RFC 3161), and its root."""
    now = datetime.now(UTC)
    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))

    def certificate(name: str, public, extension: x509.ExtensionType) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TSA Root")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - YEARS)
            .not_valid_after(now + YEARS)
            .add_extension(extension, critical=True)
            .sign(root_key, hashes.SHA256())
        )

    root = certificate(
        "TSA Root", root_key.public_key(), x509.BasicConstraints(ca=True, path_length=0)
    )
    leaf = certificate(
        "TSA", key.public_key(), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    )
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    stamper = DummyTimeStamper(
        asn1_x509.Certificate.load(leaf.public_bytes(Encoding.DER)),
        asn1_keys.PrivateKeyInfo.load(der),
        certs_to_embed=SimpleCertificateStore(),
    )
    return stamper, root


def test_a_time_stamp_proves_the_time_where_there_is_no_register():
    now = datetime.now(UTC)
    house = make_authority(HOSPITAL, now=now)
    issued_now = issue_reader(
        house, name="周敏", licence=LICENCE, hospital=HOSPITAL, password=PASSWORD, now=now
    )
    lists = [make_crl(house, [], number=1, now=now), make_root_crl(house, number=1, now=now)]
    stamper, tsa_root = stamping()
    pdf = sealed(
        signer=unlock(issued_now, PASSWORD),
        chain=house.chain,
        tsa_roots=[tsa_root],
        crls=lists,
        when=now,
        timestamper=stamper,
    )
    reset = Revocation(issued_now.serial, now + timedelta(hours=1))
    later = now + timedelta(days=2)
    known = {
        "trust_roots": [house.root],
        "tsa_roots": [tsa_root],
        "crls": [make_crl(house, [reset], number=2, now=later), lists[1]],
        "at": later,
    }

    assert ask(pdf, **known).genuine
    assert ask(pdf, **{**known, "tsa_roots": [house.root]}).why.code != "genuine"
    assert not ask(pdf + b"\n", **known).genuine
