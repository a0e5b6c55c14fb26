"""Does the hospital's authority certify as it should, and who can open its keys?"""

import dataclasses
import pickle
import shutil
import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.unit.report_cases import (
    BEGIN,
    HOSPITAL,
    LICENCE,
    PASSWORD,
    SIGNED_AT,
    authority,
    credential,
    crls,
    reader,
)
from viewers.report.authority import (
    Revocation,
    issue_reader,
    lock_authority,
    make_crl,
    new_session_secret,
    open_authority,
    relock,
    unlock,
    unwrap,
    wrap,
)
from viewers.report.keylock import (
    WrongSecret,
    lock_with_password,
    lock_with_secret,
    open_with_password,
    open_with_secret,
)

SECRET = bytes(range(32))
OTHER_SECRET = bytes(reversed(range(32)))


# --- certificates -----------------------------------------------------------------------------


def test_root_certifies_issuing_certifies_reader():
    house, leaf = authority(), reader().certificate

    house.root.verify_directly_issued_by(house.root)
    house.issuing.verify_directly_issued_by(house.root)
    leaf.verify_directly_issued_by(house.issuing)
    assert isinstance(house.root.public_key().curve, ec.SECP384R1)
    assert isinstance(house.issuing.public_key().curve, ec.SECP384R1)
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)


@pytest.mark.parametrize(("which", "path_length"), [("root", 1), ("issuing", 0)])
def test_an_authority_may_only_sign_certificates_and_lists(which, path_length):
    extensions = getattr(authority(), which).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)

    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


def test_a_reader_may_only_sign_and_not_repudiate():
    leaf = reader().certificate
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value

    assert usage.content_commitment
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert not constraints.ca
    assert {str(a.value) for a in leaf.subject} == {HOSPITAL, LICENCE, "周敏"}
    assert leaf.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value == LICENCE
    years = (leaf.not_valid_after_utc - BEGIN) / timedelta(days=365.25)
    assert years == pytest.approx(3, abs=0.01)


def test_a_certificate_never_outlives_its_issuer():
    late = authority().issuing.not_valid_after_utc - timedelta(days=10)
    issued = issue_reader(
        authority(), name="甲", licence=None, hospital=HOSPITAL, password="x", now=late
    )

    leaf = x509.load_der_x509_certificate(issued.certificate)
    assert leaf.not_valid_after_utc == authority().issuing.not_valid_after_utc


@pytest.mark.parametrize(("name", "licence"), [("", "1"), ("长" * 65, "1"), ("甲", "编号")])
def test_what_no_certificate_can_hold_is_refused(name, licence):
    with pytest.raises(ValueError):
        issue_reader(
            authority(), name=name, licence=licence, hospital=HOSPITAL, password="x", now=BEGIN
        )


def test_openssl_agrees_with_the_chain(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    house = authority()
    for name, certificate in (
        ("root", house.root),
        ("issuing", house.issuing),
        ("reader", reader().certificate),
    ):
        (tmp_path / name).write_bytes(certificate.public_bytes(Encoding.PEM))
    for name, der in zip(("issuing.crl", "root.crl"), crls(), strict=True):
        (tmp_path / name).write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
    command = [
        *("openssl", "verify", "-x509_strict", "-attime", str(int(SIGNED_AT.timestamp()))),
        *("-crl_check_all", "-CRLfile", "issuing.crl", "-CRLfile", "root.crl"),
        *("-CAfile", "root", "-untrusted", "issuing", "reader"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout == "reader: OK\n", done.stderr


# --- revocation -------------------------------------------------------------------------------


def test_the_list_names_who_is_revoked_when_and_why():
    at = SIGNED_AT - timedelta(days=2)
    der = make_crl(
        authority(),
        [Revocation(credential().serial, at, "key_compromise")],
        number=7,
        now=SIGNED_AT,
    )
    crl = x509.load_der_x509_crl(der)
    entry = crl.get_revoked_certificate_by_serial_number(credential().serial)

    assert crl.is_signature_valid(authority().issuing.public_key())
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert crl.next_update_utc > SIGNED_AT
    assert entry.revocation_date_utc == at
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise


def test_a_revocation_within_a_second_never_reaches_back():
    at = SIGNED_AT + timedelta(milliseconds=300)
    crl = x509.load_der_x509_crl(
        make_crl(authority(), [Revocation(1, at)], number=1, now=SIGNED_AT)
    )

    assert crl.get_revoked_certificate_by_serial_number(1).revocation_date_utc > at


# --- keys -------------------------------------------------------------------------------------


def test_the_password_opens_the_readers_key_and_no_other_does():
    assert unlock(credential(), PASSWORD).certificate == reader().certificate
    for wrong in ("", PASSWORD + " ", PASSWORD.upper()):
        with pytest.raises(WrongSecret):
            unlock(credential(), wrong)


def test_a_stolen_database_lacks_the_pepper():
    relocked = relock(reader(), "1234", pepper=SECRET)

    assert unlock(relocked, "1234", pepper=SECRET).certificate == reader().certificate
    with pytest.raises(WrongSecret):
        unlock(relocked, "1234")


def test_a_changed_password_keeps_the_certificate():
    relocked = relock(reader(), "another")

    assert relocked.certificate == credential().certificate
    unlock(relocked, "another")
    with pytest.raises(WrongSecret):
        unlock(relocked, PASSWORD)


def test_a_key_beside_another_readers_certificate_does_not_open():
    swapped = dataclasses.replace(
        credential(), certificate=credential("陈静", "110640127000816").certificate
    )

    with pytest.raises(WrongSecret):
        unlock(swapped, PASSWORD)


def test_the_gateways_secret_opens_the_authority():
    locked = lock_authority(authority(), SECRET)
    opened = open_authority(locked, SECRET)

    assert opened.root == authority().root
    assert opened.issuing_key.private_numbers() == authority().issuing_key.private_numbers()
    with pytest.raises(WrongSecret):
        open_authority(locked, OTHER_SECRET)
    with pytest.raises(WrongSecret):
        open_authority(dataclasses.replace(locked, root_key=locked.issuing_key), SECRET)


def test_a_session_key_opens_with_its_cookie_alone():
    secret = new_session_secret()
    wrapped = wrap(reader(), secret)

    assert unwrap(wrapped, secret, credential().certificate).certificate == reader().certificate
    with pytest.raises(WrongSecret):
        unwrap(wrapped, new_session_secret(), credential().certificate)
    with pytest.raises(WrongSecret):
        unwrap(wrapped, secret, credential("陈静", "110640127000816").certificate)
    assert wrap(reader(), secret) != wrapped


@pytest.mark.parametrize("length", [0, 16, 31])
def test_a_short_secret_is_refused(length):
    with pytest.raises(ValueError, match="32 bytes"):
        wrap(reader(), bytes(length))


def test_nothing_open_is_shown_or_written():
    for kept in (authority(), reader()):
        assert "PrivateKey" not in repr(kept)
        with pytest.raises(TypeError):
            pickle.dumps(kept)
    assert "locked_key" not in repr(credential())
    assert "root_key" not in repr(lock_authority(authority(), SECRET))


# --- locks ------------------------------------------------------------------------------------


def test_every_changed_byte_of_a_locked_key_is_noticed():
    locked = lock_with_secret(b"key", SECRET, purpose="p")

    for position in range(len(locked)):
        altered = bytearray(locked)
        altered[position] ^= 1
        with pytest.raises(WrongSecret):
            open_with_secret(bytes(altered), SECRET, purpose="p")
    with pytest.raises(WrongSecret):
        open_with_secret(locked, SECRET, purpose="q")


def test_the_cost_in_a_locked_key_cannot_be_driven_up():
    locked = lock_with_password(b"key", "x", purpose="p")

    for cost in (b"\xff\x08\x01", b"\x0f\xff\x01", b"\x0f\x08\xff", b"\x00\x00\x00"):
        with pytest.raises(WrongSecret):
            open_with_password(locked[:4] + cost + locked[7:], "x", purpose="p")
    for cut in (b"", locked[:4], locked[:20], locked[:-1]):
        with pytest.raises(WrongSecret):
            open_with_password(cut, "x", purpose="p")
